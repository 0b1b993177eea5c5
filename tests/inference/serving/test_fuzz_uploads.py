"""Uploads with something done to them: each is answered or refused, and the server goes on."""

import base64
import io
import json
import os
import random
import tempfile

import httpx
import numpy as np
import pytest
import soundfile

# The whole run: VTB_FUZZ=2000.
COUNT = int(os.environ.get("VTB_FUZZ", 150))
NAMES = ("a.wav", "../../etc/passwd", "/etc/passwd", "a\0.wav", "x" * 3000, "é 🙂.m4a", "", "con", "a.m3u8", "%2e%2e/x")
SECRET = 0.7351


def seeds(path):
    """Good files of several containers, and playlists that name another file."""
    import av

    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, 8000).astype(np.float32)
    for form, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "FLOAT"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("AIFF", "PCM_16"),
    ):
        made = io.BytesIO()
        soundfile.write(made, samples, 8000, format=form, subtype=subtype)
        yield made.getvalue()
    for container, codec in (("ipod", "aac"), ("matroska", "pcm_s16le"), ("mp3", "libmp3lame")):
        made = io.BytesIO()
        with av.open(made, "w", format=container) as file:
            stream = file.add_stream(codec, rate=16_000, layout="mono")
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = 16_000
            resampler = av.AudioResampler(stream.format, stream.layout, 16_000, frame_size=stream.frame_size or 1024)
            for ready in [*resampler.resample(frame), *resampler.resample(None)]:
                file.mux(stream.encode(ready))
            file.mux(stream.encode(None))
        yield made.getvalue()
    for text in (f"ffconcat version 1.0\nfile '{path}'\n", f"#EXTM3U\n#EXTINF:1,\nfile://{path}\n#EXT-X-ENDLIST\n"):
        yield text.encode()


def damaged(data, drawn):
    """A file with bytes changed, cut, doubled, or its lengths set to the largest."""
    data = bytearray(data)
    for _ in range(drawn.randint(0, 4)):
        at = drawn.randrange(len(data) or 1)
        how = drawn.randrange(6)
        if how == 0 and data:
            data[at] = drawn.randrange(256)
        elif how == 1:
            del data[at:]
        elif how == 2:
            data[at:at] = data[at : at + drawn.randint(1, 400)]
        elif how == 3:
            # Where headers are.
            start = drawn.randrange(60)
            data[start : start + 4] = drawn.choice((b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"))
        elif how == 4:
            del data[at : at + drawn.randint(1, 40)]
        else:
            data += bytes(drawn.randrange(256) for _ in range(drawn.randint(1, 200)))
    return bytes(data)


@pytest.mark.parametrize("seed", [int(os.environ.get("VTB_FUZZ_SEED", 0))])
def test_every_upload_is_answered_or_refused(served, tmp_path, seed, monkeypatch):
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, np.full(8000, SECRET), 8000)
    kept = list(seeds(secret))
    drawn = random.Random(seed)
    heard = []
    keep = type(served.worker).submit

    def submit(worker, answer, deliver):
        heard.extend(sound.samples for turn in answer.turns for sound in turn.sounds)
        keep(worker, answer, deliver)

    monkeypatch.setattr(type(served.worker), "submit", submit)
    # Others write into the common folder meanwhile.
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    statuses = {}
    with httpx.Client(base_url=served.url, headers={"Authorization": f"Bearer {served.key}"}, timeout=60) as http:
        for number in range(COUNT):
            data = damaged(drawn.choice(kept), drawn)
            if number % 2:
                name = drawn.choice(NAMES)
                reply = http.post(
                    "/v1/audio/transcriptions",
                    files={"file": (name or "x", data, drawn.choice(("audio/wav", "text/html", "x/" + "y" * 200)))},
                )
            else:
                text = base64.b64encode(data).decode()
                if drawn.random() < 0.3:
                    at = drawn.randrange(len(text) or 1)
                    text = text[:at] + drawn.choice(("=", "\0", "é", "%", "\n", "", "====", "\ud83d")) + text[at + 1 :]
                url = (
                    drawn.choice(("data:audio/wav;base64,", "data:;base64,", "data:audio/x,", "DATA:a/b;x=y;base64,"))
                    + text
                )
                part = {"type": "audio_url", "audio_url": {"url": url}}
                if drawn.random() < 0.5:
                    part = {
                        "type": "input_audio",
                        "input_audio": {"data": text, "format": drawn.choice(("wav", 3, None))},
                    }
                body = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 1}
                reply = http.post(
                    "/v1/chat/completions", content=json.dumps(body), headers={"Content-Type": "application/json"}
                )
            assert reply.status_code in (200, 400, 413), (number, reply.status_code, reply.text)
            if reply.status_code == 400:
                assert "\n" not in reply.json()["error"]["message"]
            statuses[reply.status_code] = statuses.get(reply.status_code, 0) + 1
        assert http.get("/health").json()["status"] == "ok"
    assert statuses[200] > COUNT / 20 and statuses[400] > COUNT / 20, statuses
    assert not any(np.isclose(np.median(np.abs(samples)), SECRET, atol=0.01) for samples in heard)
    assert not list(temporary.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"secret.wav", "temporary"}
    print(statuses)
