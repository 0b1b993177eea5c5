"""Looking at data before anything is trained: lint, preview, report.

Begin with ``lint``; it reads rows exactly as training does.
"""
