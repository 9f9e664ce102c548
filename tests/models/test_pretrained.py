"""timm's models with timm's weights: from the Hub's cache, from the Hub, or refused."""

import re
import socket
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from coatnet import UserError, create_model
from coatnet.models import check_name, head_tensors, peers
from coatnet.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

from .test_create_model import CONFIGURATIONS

COMMIT = "0" * 40
REPOSITORY = "timm/test_resnet.r160_in1k"  # of timm's own tests: 0.5 million parameters
HEAD = {"fc.weight", "fc.bias"}


@pytest.fixture
def params(tiny):
    return tiny(model__name="timm/test_resnet", model__pretrained=True)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache, and no Hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "*")
    _set_hub(monkeypatch, 1)  # no port that anything listens at
    return tmp_path / "cache"


def _set_hub(monkeypatch, port):
    template = f"http://127.0.0.1:{port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture(scope="module")
def trained():
    """What stands in for trained weights."""
    torch.manual_seed(7)
    return timm.create_model("test_resnet").state_dict()


def assert_taken(model, trained):
    state = model.state_dict()
    assert {name for name in state if not torch.equal(state[name], trained[name])} == HEAD


def test_from_the_cache_without_a_network(params, cache, trained):
    snapshot = cache / f"models--{REPOSITORY.replace('/', '--')}" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    save_file(trained, snapshot / "model.safetensors")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(COMMIT)
    model = create_model(params.model, 7, pretrained=True)
    assert_taken(model, trained)
    assert model.fc.weight.shape[0] == 7
    # Of as many classes the head is taken, too.
    whole = create_model(params.model, 1000, pretrained=True).state_dict()
    assert all(torch.equal(whole[name], trained[name]) for name in whole)


def test_from_the_hub(params, cache, trained, tmp_path, monkeypatch):
    file = tmp_path / "hub" / REPOSITORY / "resolve" / "main" / "model.safetensors"
    file.parent.mkdir(parents=True)
    save_file(trained, file)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path / "hub")

        def end_headers(self):
            self.send_header("ETag", '"1"')
            self.send_header("X-Repo-Commit", COMMIT)
            super().end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            _set_hub(monkeypatch, server.server_port)
            assert_taken(create_model(params.model, 7, pretrained=True), trained)
        finally:
            server.shutdown()
            thread.join()
    assert list(cache.rglob("model.safetensors"))
    assert_taken(create_model(params.model, 7, pretrained=True), trained)  # the server is gone


def test_a_checkpoint_needs_no_weights_beside_it(params, tmp_path):
    model = create_model(params.model, 2)
    classes, values = [("a", "a"), ("b", "b")], params.model_dump(mode="json")
    save_checkpoint(tmp_path / "checkpoint", Checkpoint(model, values, classes, (0.5,) * 3, (0.2,) * 3))
    state = load_checkpoint(tmp_path / "checkpoint").model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


SENTENCE = r"^the weights of timm/test_resnet are not on this machine and could not be fetched from http://.* \(\w+\): "


def test_where_nothing_answers_it_is_said_soon(params, monkeypatch):
    monkeypatch.setattr(peers, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _set_hub(monkeypatch, silent.getsockname()[1])
        start = time.monotonic()
        with pytest.raises(UserError, match=SENTENCE) as refused:
            create_model(params.model, 7, pretrained=True)
    assert time.monotonic() - start < 10
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("offline", [False, True])
def test_without_a_network_it_is_refused(params, monkeypatch, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(UserError, match=SENTENCE):
        create_model(params.model, 7, pretrained=True)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("convnext_atto.d3_in1k", "on the Hub for model.name=timm/convnext_atto.d3_in1k, but for timm/convnext_atto.d"),
        ("test_vit_relpos", "on the Hub for model.name=timm/test_vit_relpos: take another model, or model.pretrained="),
    ],
)
def test_where_timm_has_no_weights_it_is_said_before_all_else(tiny, name, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        check_name(tiny(model__name=f"timm/{name}", model__pretrained=True).model)


def test_without_weights_a_model_is_known_but_not_a_tag_that_timm_lacks(tiny):
    check_name(tiny(model__name="timm/test_vit_relpos").model)
    with pytest.raises(UserError, match=r"model\.name=timm/convnext_atto\.d3_in1k is unknown to timm: .*\(d3_in1k\)"):
        check_name(tiny(model__name="timm/convnext_atto.d3_in1k").model)


@pytest.mark.parametrize("name", [*CONFIGURATIONS, "timm/deit_tiny_distilled_patch16_224"])
def test_the_head_is_what_depends_on_the_number_of_classes(tiny, name):
    params = tiny(**CONFIGURATIONS.get(name, {"model.name": name})).model
    with torch.device("meta"):
        five, seven = (create_model(params, classes) for classes in (5, 7))
    other = seven.state_dict()
    assert head_tensors(five) == {name for name, t in five.state_dict().items() if t.shape != other[name].shape}
