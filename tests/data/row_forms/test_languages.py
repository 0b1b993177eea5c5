"""Languages as rows name them, and what follows from them: wordings, names, case, punctuation."""

import pytest

from nemo_vtb.data.conversations.prompt_pool import PromptPool
from nemo_vtb.data.conversations.target_text import has_capitals, has_punctuation, without_punctuation
from nemo_vtb.data.files.notes import collect_notes
from nemo_vtb.data.files.rows import BadRows
from nemo_vtb.data.inspection.lint import LintResult, lint_entry
from nemo_vtb.data.row_forms.languages import canonical, language_name, language_tag, lower, spellings, upper
from nemo_vtb.data.sources.source import Reading

# FLEURS's tags, with the names that Unicode has.
_FLEURS = """
af_za am_et ar_eg as_in ast_es az_az be_by bg_bg bn_in bs_ba ca_es ceb_ph ckb_iq cmn_hans_cn cs_cz cy_gb da_dk
de_de el_gr en_us es_419 et_ee fa_ir ff_sn fi_fi fil_ph fr_fr ga_ie gl_es gu_in ha_ng he_il hi_in hr_hr hu_hu
hy_am id_id ig_ng is_is it_it ja_jp jv_id ka_ge kam_ke kea_cv kk_kz km_kh kn_in ko_kr ky_kg lb_lu lg_ug ln_cd
lo_la lt_lt luo_ke lv_lv mi_nz mk_mk ml_in mn_mn mr_in ms_my mt_mt my_mm nb_no ne_np nl_nl nso_za ny_mw oc_fr
om_et or_in pa_in pl_pl ps_af pt_br ro_ro ru_ru sd_in sk_sk sl_si sn_zw so_so sr_rs sv_se sw_ke ta_in te_in
tg_tj th_th tr_tr uk_ua umb_ao ur_pk uz_uz vi_vn wo_sn xh_za yo_ng yue_hant_hk zu_za
""".split()


@pytest.mark.parametrize("tag", ["und", "mul", "zxx", "auto", "", " "])
def test_what_is_no_one_language_is_none(tag):
    assert language_tag(tag) is None


@pytest.mark.parametrize(
    ("tag", "same", "name"),
    [
        ("en-US", "en-US", "English"),
        ("en_us", "en-US", "English"),
        ("EN", "en", "English"),
        ("eng", "en", "English"),
        ("zh-CN", "zh-CN", "Chinese"),
        ("zh-Hant-TW", "zh-Hant-TW", "Traditional Chinese"),
        ("sv-SE", "sv-SE", "Swedish"),
        ("cmn_hans_cn", "zh-Hans-CN", "Simplified Chinese"),
        ("pt-BR", "pt-BR", "Portuguese"),
        ("no", "no", "Norwegian"),
        ("iw", "he", "Hebrew"),
        ("Swedish", "sv", "Swedish"),
        ("xx", "xx", None),
        ("es-419", "es-419", "Spanish"),
    ],
)
def test_tags_and_their_names(tag, same, name):
    assert canonical(tag) == same and language_name(tag) == name


def test_a_hundred_languages_have_names():
    assert len(_FLEURS) > 100
    nameless = {tag for tag in _FLEURS if language_name(tag) is None}
    assert nameless <= {"oc_fr"}  # Babel's CLDR leaves out what too few people have checked


def test_spellings_go_from_the_closest_to_the_language():
    assert spellings("zh_Hant_TW") == ["zh_Hant_TW", "zh-Hant-TW", "zh-Hant", "zh"]


def test_regions_find_the_wordings_of_their_language():
    pool = PromptPool()
    said = {w.say for w in pool.wordings("ast", "en-US", "de-DE")}
    assert "Translate the spoken English into German." in said and "Übersetze das Gesagte ins Deutsche." in said
    assert not any("DE" in text or "US" in text for text in said)
    assert said == {w.say for w in pool.wordings("ast", "en", "de")}


def test_yaml_no_is_norwegian(tmp_path, jsonl, clip, read):
    path = tmp_path / "pool.yaml"
    path.write_text("asr: {no: ['Skriv {source}.']}\nast: {}\nlanguages: {no: {no: Norsk}}")
    row = {"audio_filepath": str(clip.path), "text": "hei"}
    for tags in ({"lang": False}, {"lang": "no"}):
        (draw,) = read("asr", type="nemo", manifest_filepath=jsonl(row), prompts=str(path), tags=tags)
        assert draw(0).turns[0].value == "Skriv Norsk." and draw(0).custom["lang"] == "no"


def test_a_language_that_is_no_tag_is_refused_and_an_unknown_one_reported(jsonl, clip, read):
    row = {"audio_filepath": str(clip.path), "text": "hi"}
    bad = BadRows(1.0)
    assert not read("asr", bad, type="nemo", manifest_filepath=jsonl(row | {"lang": 7}))
    assert "'lang' is '7'" in bad.first["missing language"]
    result = LintResult()
    path = jsonl(row | {"id": 1, "lang": "qq"}, row | {"id": 2, "lang": "sv-SE"}, row | {"id": 3, "lang": "de-AT"})
    lint_entry({"type": "nemo", "manifest_filepath": path}, "asr", Reading("<|audio|>", 0.08), result, processes=1)
    assert [(f.line, f.severity, f.reason) for f in result.findings] == [
        (1, "warning", "unknown language"),
        (2, "note", "no wordings"),
    ]
    assert "no asr wordings in Swedish (sv-SE): English ones ask" in result.findings[1].message


def test_without_any_wordings_english_ones_ask(tmp_path):
    path = tmp_path / "pool.yaml"
    path.write_text("asr: {en: ['Write {source}.']}\nast: {}\nlanguages: {}")
    with collect_notes() as notes:
        assert [w.say for w in PromptPool(path).wordings("asr", "fr")] == ["Write French."]
    assert [note.reason for note in notes] == ["no wordings"]


@pytest.mark.parametrize(
    ("tag", "text", "low"),
    [
        ("tr", "Ilık İzmir", "ılık izmir"),
        ("tr-TR", "ISI", "ısı"),
        ("az_az", "İI", "iı"),
        ("en", "IS", "is"),
        (None, "IS", "is"),
        ("de", "STRAẞE", "straße"),
        ("el", "ΟΔΟΣ", "οδος"[:-1] + "ς"),
        ("tur", "I\u0307", "i"),
        (None, "İZMİR", "izmir"),
        ("en", "İstanbul", "istanbul"),
    ],
)
def test_lower_case_is_that_of_the_language(tag, text, low):
    assert lower(text, tag) == low


def test_a_wording_without_capitals_gives_what_people_write(jsonl, clip, read, tmp_path):
    pool = tmp_path / "pool.yaml"
    pool.write_text(
        "asr: {any: [{say: Low., capitals: false}]}\nast: {any: [{say: Low., capitals: false}]}\nlanguages: {}"
    )
    row = {"audio_filepath": str(clip.path), "text": "Ilık İzmir.", "lang": "tr"}
    (draw,) = read("asr", type="nemo", manifest_filepath=jsonl(row), prompts=str(pool))
    assert draw(0).turns[-1].value == "ılık izmir."
    row = {"audio_filepath": str(clip.path), "answer": "Ilık İzmir.", "source_lang": "en", "target_lang": "tr-TR"}
    (draw,) = read("ast", type="nemo", manifest_filepath=jsonl(row), prompts=str(pool))
    assert draw(0).turns[-1].value == "ılık izmir."


def test_capitals_by_language():
    assert not has_capitals("KIRMIZI İP", "tr") and upper("ip", "tr") == "İP"
    assert has_capitals("Izgara", "tr") and not has_capitals("ızgara", "tr")


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("50 %, please!", "50 % please"),
        ("R&D is great.", "R&D is great"),
        ("mail a@b now.", "mail a@b now"),
        ("It's -5, or −3.", "It's -5 or −3"),
        ("col·lecció.", "col·lecció"),
        ("צה״ל.", "צה״ל"),
        ("#1!", "#1"),
        ("٣٫٥ ٪؟", "٣٫٥ ٪"),
        ("１００％。", "１００％"),
        ("§ 3, (b)", "§ 3 b"),
    ],
)
def test_signs_that_are_said_stay(text, bare):
    assert without_punctuation(text) == bare and has_punctuation(text) == (bare != text)


@pytest.mark.parametrize("fields", [{"lang": ["de"]}, {"target_lang": 3}, {"lang": True}, {"lang": {"tag": "de"}}])
@pytest.mark.parametrize("data_type", ["share_gpt", "multimodal_conversation", "nemo_sft_jsonl"])
def test_a_language_of_a_chat_that_is_no_text_is_refused(jsonl, read, fields, data_type):
    turns = [{"from": "user", "value": "hi"}, {"from": "assistant", "value": "yes"}]
    key = "paths" if data_type == "nemo_sft_jsonl" else "manifest_filepath"
    bad = BadRows(1.0)
    good = {"conversations": turns, "lang": [], "target_lang": None}
    draws = read("text", bad, type=data_type, **{key: jsonl({"conversations": turns, **fields}, good)})
    assert len(draws) == 1 and dict(bad.reasons) == {"missing language": 1}
    assert f"'{next(iter(fields))}' is " in bad.first["missing language"]


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"lang": "en", "source_lang": "de"}, True),
        ({"lang": "de-AT", "source_lang": "deu"}, False),
        ({"lang": "und", "source_lang": "de"}, False),
        # NeMo's manifests of translation have the language of the text under lang.
        ({"lang": "en", "source_lang": "de", "target_lang": "en"}, False),
    ],
)
def test_two_languages_of_one_clip_are_refused(jsonl, clip, read, fields, refused):
    bad = BadRows(1.0)
    row = {"audio_filepath": str(clip.path), "text": "so", "answer": "also", **fields}
    draws = read("asr", bad, type="nemo", manifest_filepath=jsonl(row))
    assert dict(bad.reasons) == ({"contradiction": 1} if refused else {})
    assert [draw(0).custom["lang"][:2] for draw in draws] == ([] if refused else ["de"])
