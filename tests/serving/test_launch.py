"""Which server is started, and how."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import sys
import textwrap

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tfvae.serving import LocalServer, serve
from tfvae.serving.tensorflow_server import PROGRAM


@pytest.fixture
def fake_program(tmp_path, monkeypatch):
    """A `tensorflow_model_server` that notes how it was called, and ends as it is told."""
    program, note = tmp_path / "bin" / PROGRAM, tmp_path / "note.json"
    program.parent.mkdir()

    def install(ending):
        program.write_text(
            textwrap.dedent(f"""\
                #!{sys.executable}
                import json, os, signal, sys, time
                flags = dict(flag[2:].partition("=")[::2] for flag in sys.argv[1:])
                files = {{k: open(v).read() for k, v in flags.items() if k.endswith("_file")}}
                json.dump([flags, files], open({str(note)!r}, "w"))
                {ending}
                """)
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(program.parent))
        return note

    return install


def test_tensorflow_serving_is_taken_where_it_is(fake_program, export):
    note, said = fake_program("sys.exit(7)"), []
    handler = signal.getsignal(signal.SIGTERM)
    status = serve(export, port=1234, rest_port=5678, poll_seconds=2.0, announce=said.append)
    assert status == 7
    assert signal.getsignal(signal.SIGTERM) is handler
    assert len(said) == 1
    assert f"{PROGRAM}, on every interface: gRPC on port 1234, REST on port 5678" in said[0]
    flags, files = json.loads(note.read_text())
    assert (flags["port"], flags["rest_api_port"]) == ("1234", "5678")
    assert flags["file_system_poll_wait_seconds"] == "2"
    assert flags["rest_api_timeout_in_ms"] == "30000"
    assert flags["enable_batching"] == ""
    assert flags["batching_parameters_file"] == str(export / "batching_parameters.txt")
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(files["model_config_file"], config)
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("shapes", str(export.resolve()))
    assert dict(model.version_labels) == {"stable": 1, "ghost": 9}
    assert model.model_version_policy.WhichOneof("policy_choice") == "all"
    assert "/monitoring/prometheus/metrics" in files["monitoring_config_file"]


def test_batching_is_off_if_it_is_not_wanted(fake_program, export):
    note = fake_program("sys.exit(0)")
    assert serve(export, batching=False, announce=lambda line: None) == 0
    flags, _ = json.loads(note.read_text())
    assert not {"enable_batching", "batching_parameters_file"} & set(flags)


def test_its_signals_are_passed_on(fake_program, export):
    fake_program("os.kill(os.getppid(), signal.SIGTERM); time.sleep(20)")
    assert serve(export, announce=lambda line: None) == -signal.SIGTERM


def test_the_embedded_server_where_it_is_not_or_is_not_wanted(tmp_path, fake_program, monkeypatch):
    fake_program("sys.exit(7)")
    (tmp_path / "empty").mkdir()
    said = []
    with pytest.raises(ValueError, match="No version can be served"):
        serve(tmp_path / "empty", embedded=True, announce=said.append)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="No version can be served"):
        serve(tmp_path / "empty", announce=said.append)
    assert said[0].startswith("as asked for: this is tfvae's embedded server")
    assert said[1].startswith(f"{PROGRAM} is not on the PATH: this is tfvae's embedded server")


def test_a_package_that_is_missing(monkeypatch, export):
    monkeypatch.setitem(sys.modules, "tfvae.serving.embedded", None)
    with pytest.raises(ImportError, match=r"pip install 'tfvae\[serving\]'\. Received: "):
        serve(export)


def test_a_server_that_does_not_start_says_why(tmp_path, export):
    shutil.copytree(export, tmp_path / "shapes")
    for version in (1, 2):
        (tmp_path / "shapes" / str(version) / "saved_model.pb").write_bytes(b"noise")
    server = LocalServer(tmp_path / "shapes", embedded=True)
    with pytest.raises(
        RuntimeError, match=r"(?s)does not answer\. Received from it: .*DecodeError"
    ):
        server.start()
    assert server.process.returncode == 1
