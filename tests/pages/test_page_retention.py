from nemo_vtb.pages.charts import retention_chart


def _rows(**columns):
    return [
        {"step": step, **{name: values[place] for name, values in columns.items()}}
        for place, step in enumerate((0, 30, 60))
    ]


def test_drop_and_divergence_are_drawn_with_an_axis_each():
    chart = retention_chart("Text kept", _rows(val_text_drop=[0.0, 0.05, 0.2], val_text_kl=[0.0, 0.1, 0.4]))
    assert chart.startswith("<svg") and 'aria-label="Text kept"' in chart
    assert "points lost against the untouched LLM" in chart and "KL to the untouched LLM" in chart
    assert "var(--kind-text)" in chart


def test_the_divergence_may_be_missing_and_numbers_may_be_odd():
    chart = retention_chart("Text kept", _rows(val_text_drop=[0.0, float("nan"), None]))
    assert "points lost" in chart and "KL" not in chart


def test_a_run_without_the_gate_has_no_chart():
    assert retention_chart("Text kept", _rows(val_loss_asr=[3.0, 2.0, 1.0])) is None
