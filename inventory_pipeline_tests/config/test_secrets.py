import copy
import json
import pickle
import traceback

import pytest

from inventory_pipeline.config.load import load_hub
from inventory_pipeline.config.secrets import Secret, reveal
from inventory_pipeline.core.errors import ConfigInvalid
from inventory_pipeline_tests.config.hub_folders import ENVIRON, TOKEN, Folder, changed

NESTED = changed(
    "options: {store: acme, access_token: {env: SHOPIFY_TOKEN}}",
    """options:
      store: acme
      access_token: {env: SHOPIFY_TOKEN}
      hooks: [{topic: orders, keys: [{env: SHOPIFY_TOKEN}, plain]}]
      fallback: {env: NOWHERE, default: deep-default}""",
)


def test_a_secret_shows_itself_nowhere():
    secret = Secret(TOKEN)
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>5}",
        "%s" % secret,  # noqa: UP031 - one of the ways in which a log line is made
    ]
    assert {text.strip() for text in shown} == {"***"}
    assert json.dumps({"a": secret}, default=str) == '{"a": "***"}'
    assert TOKEN not in repr(copy.deepcopy({"a": [secret]}))
    assert not hasattr(secret, "__dict__")
    with pytest.raises(TypeError):
        "Bearer " + secret
    with pytest.raises(TypeError, match="read the environment again"):
        pickle.dumps(secret)


def test_reveal_takes_secret_and_plain_options():
    assert reveal(Secret(TOKEN)) == TOKEN
    assert reveal("plain") == "plain"
    assert reveal(8080) == "8080"
    with pytest.raises(TypeError, match="holds a dict"):
        reveal({"env": "X"})


def test_secrets_are_compared_by_their_text():
    assert Secret("a") == Secret("a")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"


def test_references_are_resolved_however_deep_and_never_printed(tmp_path):
    hub = load_hub(Folder(policy=NESTED).write(tmp_path), ENVIRON)
    options = hub.systems["shop"].options
    assert options["hooks"][0]["keys"] == [Secret(TOKEN), "plain"]
    assert options["fallback"] == Secret("deep-default")
    assert options["store"] == "acme"
    for text in (repr(hub), str(hub), str(options)):
        assert TOKEN not in text
        assert "deep-default" not in text


def test_a_default_gives_way_to_the_environment(tmp_path):
    hub = load_hub(Folder(policy=NESTED).write(tmp_path), {**ENVIRON, "NOWHERE": "from-there"})
    assert reveal(hub.systems["shop"].options["fallback"]) == "from-there"


def test_an_empty_variable_counts_as_none(tmp_path):
    findings = Folder(environ={"SHOPIFY_TOKEN": ""}).check(tmp_path)[1]
    assert [f.line for f in findings] == [19]
    assert "the environment variable SHOPIFY_TOKEN is empty: set it" in findings[0].message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{store: acme, access_token: {env: SHOPIFY_TOKEN}}", TOKEN),
        ("{store: acme, access_token: {env: SHOPIFY_TOKEN}}", f"[{TOKEN}]"),
        ("options: {store: acme, access_token: {env: SHOPIFY_TOKEN}}", f"access_token: {TOKEN}"),
        ("{env: SHOPIFY_TOKEN}", f"{{env: NOT_SET, defalt: {TOKEN}}}"),
        ("{env: SHOPIFY_TOKEN}", f"{{env: [x], default: {TOKEN}}}"),
        ("{env: SHOPIFY_TOKEN}", f"!secret {TOKEN}"),
        ("{env: SHOPIFY_TOKEN}}", f"{TOKEN}, access_token: x{TOKEN}}}"),
        ("lag: 2m", "lag: soon"),
    ],
)
def test_no_error_shows_a_secret_wherever_it_was_misplaced(old, new, tmp_path):
    folder = Folder(policy=changed(old, new)).write(tmp_path)
    with pytest.raises(ConfigInvalid) as raised:
        load_hub(folder, ENVIRON)
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value.findings)
    assert TOKEN not in shown


def test_a_secret_that_is_written_out_is_a_warning_that_does_not_repeat_it(tmp_path):
    hub, findings = Folder(policy=changed("{env: SHOPIFY_TOKEN}", TOKEN)).check(tmp_path)
    assert hub is not None
    assert [(f.severity, f.line) for f in findings] == [("warning", 19)]
    assert "systems.shop.options.access_token: write {env: NAME}" in findings[0].message
    assert TOKEN not in str(findings)
