"""Requests in all forms, through the original stubs and plain HTTP, to every server there is."""

from __future__ import annotations

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

SIGNATURES = (
    "encode",
    "decode",
    "reconstruct",
    "sample",
    "interpolate",
    "log_prob",
    "anomaly_score",
)
ONE_OUTPUT = ("reconstruct", "interpolate", "log_prob", "anomaly_score")
MODEL = "/v1/models/shapes"


def predict_request(signature, inputs, **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = spec.get("name", "shapes")
    request.model_spec.signature_name = signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return request


def arrays(response):
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def rows(inputs):
    return [
        {name: array[i].tolist() for name, array in inputs.items()}
        for i in range(len(next(iter(inputs.values()))))
    ]


def assert_close(answer, expected):
    assert answer.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(np.asarray(answer[name], array.dtype), array, atol=1e-5)
        assert np.shape(answer[name]) == array.shape


# ---- predict ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNATURES)
def test_grpc_predict(running, reference, inputs, name):
    response = running.prediction.Predict(predict_request(name, inputs[name]), timeout=20)
    assert_close(arrays(response), reference(name, **inputs[name]))
    assert (response.model_spec.name, response.model_spec.version.value) == ("shapes", 2)
    assert response.model_spec.signature_name == name


@pytest.mark.parametrize("name", SIGNATURES)
def test_rest_rows(running, reference, inputs, name):
    body = {"signature_name": name, "instances": rows(inputs[name])}
    response = running.http.post(f"{MODEL}:predict", json=body)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    expected = reference(name, **inputs[name])
    predictions = response.json()["predictions"]
    if name in ONE_OUTPUT:
        answer = {next(iter(expected)): predictions}
    else:
        answer = {key: [row[key] for row in predictions] for key in predictions[0]}
    assert_close(answer, expected)


@pytest.mark.parametrize("name", SIGNATURES)
def test_rest_columns(running, reference, inputs, name):
    columns = {key: array.tolist() for key, array in inputs[name].items()}
    body = {"signature_name": name, "inputs": columns}
    outputs = running.http.post(f"{MODEL}:predict", json=body).json()["outputs"]
    expected = reference(name, **inputs[name])
    assert_close({next(iter(expected)): outputs} if name in ONE_OUTPUT else outputs, expected)


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_the_name_of_a_single_input_may_be_left_out(running, reference, inputs, form):
    body = {"signature_name": "reconstruct", form: inputs["encode"]["x"].tolist()}
    answer = running.http.post(f"{MODEL}:predict", json=body).json()
    expected = reference("reconstruct", x=inputs["encode"]["x"])["x"]
    key = {"instances": "predictions", "inputs": "outputs"}[form]
    np.testing.assert_allclose(np.array(answer[key]), expected, atol=1e-5)


def test_the_first_signature_is_the_default(running, reference, inputs):
    expected = reference("encode", **inputs["encode"])
    response = running.prediction.Predict(predict_request("", inputs["encode"]), timeout=20)
    assert_close(arrays(response), expected)
    assert response.model_spec.signature_name == "serving_default"
    body = {"inputs": inputs["encode"]["x"].tolist()}
    assert_close(running.http.post(f"{MODEL}:predict", json=body).json()["outputs"], expected)


@pytest.mark.parametrize(
    ("path", "spec", "version"),
    [
        ("", {}, 2),
        ("/versions/1", {"version": 1}, 1),
        ("/versions/2", {"version": 2}, 2),
        ("/labels/stable", {"label": "stable"}, 1),
    ],
)
def test_versions_and_labels(running, reference, inputs, path, spec, version):
    expected = reference("decode", version=version, **inputs["decode"])
    request = predict_request("decode", inputs["decode"], **spec)
    response = running.prediction.Predict(request, timeout=20)
    assert response.model_spec.version.value == version
    assert_close(arrays(response), expected)
    body = {"signature_name": "decode", "inputs": inputs["decode"]["z"].tolist()}
    answer = running.http.post(f"{MODEL}{path}:predict", json=body).json()
    assert_close(answer["outputs"], expected)
    assert not np.allclose(
        expected["mean"], reference("decode", 3 - version, **inputs["decode"])["mean"]
    )


def test_output_filter(running, reference, inputs):
    request = predict_request("sample", inputs["sample"])
    request.output_filter.append("z")
    expected = {"z": reference("sample", **inputs["sample"])["z"]}
    assert_close(arrays(running.prediction.Predict(request, timeout=20)), expected)


@pytest.mark.parametrize("form", ["tensor_content", "float_val", "one float_val"])
def test_every_form_of_a_tensor(running, reference, form):
    z = np.full((2, 2), 0.25, np.float32)
    request = predict_request("decode", {"z": z})
    tensor = request.inputs["z"]
    if form != "tensor_content":
        tensor.ClearField("tensor_content")
        tensor.ClearField("float_val")
        tensor.float_val.extend([0.25] * (4 if form == "float_val" else 1))
    response = running.prediction.Predict(request, timeout=20)
    assert_close(arrays(response), reference("decode", z=z))


def test_gzip(running, reference, inputs):
    body = {"signature_name": "decode", "inputs": inputs["decode"]["z"].tolist()}
    response = running.http.post(
        f"{MODEL}:predict",
        content=gzip.compress(json.dumps(body).encode()),
        headers={"Content-Encoding": "gzip"},
    )
    assert_close(response.json()["outputs"], reference("decode", **inputs["decode"]))


def test_answers_do_not_depend_on_the_company(running, reference):
    """48 requests of different sizes at once: each answer is the one it gets alone."""
    sizes = [1 + i % 5 for i in range(48)]
    seeds = [np.array([[i, j] for j in range(n)], np.int32) for i, n in enumerate(sizes)]

    def ask(seed):
        request = predict_request("sample", {"seed": seed})
        return arrays(running.prediction.Predict(request, timeout=30))

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, seeds))
    for seed, answer in zip(seeds, answers, strict=True):
        assert_close(answer, reference("sample", seed=seed))


# ---- metadata and status ------------------------------------------------------------------


def test_grpc_metadata(running):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "shapes"
    response = running.prediction.GetModelMetadata(request, timeout=20)
    assert (response.model_spec.name, response.model_spec.version.value) == ("shapes", 2)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) >= {*SIGNATURES, "serving_default"}
    seed = signatures.signature_def["sample"].inputs["seed"]
    assert seed.dtype == tf.int32.as_datatype_enum
    assert [dim.size for dim in seed.tensor_shape.dim] == [-1, 2]
    assert signatures.signature_def["sample"].method_name == "tensorflow/serving/predict"


@pytest.mark.parametrize(
    ("path", "version"), [("", "2"), ("/versions/1", "1"), ("/labels/stable", "1")]
)
def test_rest_metadata(running, path, version):
    answer = running.http.get(f"{MODEL}{path}/metadata").json()
    assert answer["model_spec"] == {"name": "shapes", "signature_name": "", "version": version}
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) >= {*SIGNATURES, "serving_default"}
    z = signatures["decode"]["inputs"]["z"]
    assert z["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in z["tensor_shape"]["dim"]] == ["-1", "2"]
    assert z["tensor_shape"]["unknown_rank"] is False


def test_grpc_status(running):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "shapes"
    found = running.models.GetModelStatus(request, timeout=20).model_version_status
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert sorted((v.version, v.state, v.status.error_code) for v in found) == [
        (1, available, 0),
        (2, available, 0),
    ]
    request.model_spec.version.value = 1
    found = running.models.GetModelStatus(request, timeout=20).model_version_status
    assert [v.version for v in found] == [1]


def test_rest_status(running):
    ok = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    found = running.http.get(MODEL).json()["model_version_status"]
    assert sorted(found, key=lambda v: v["version"]) == [
        {"version": "1", **ok},
        {"version": "2", **ok},
    ]
    found = running.http.get(f"{MODEL}/labels/stable").json()["model_version_status"]
    assert found == [{"version": "1", **ok}]


# ---- errors -------------------------------------------------------------------------------

Z = np.zeros((1, 2), np.float32)


@pytest.mark.parametrize(
    ("arguments", "spec", "code", "message"),
    [
        (("decode", {"z": Z}), {"name": "nobody"}, "NOT_FOUND", "Servable not found"),
        (("decode", {"z": Z}), {"version": 7}, "NOT_FOUND", "Servable not found"),
        (("decode", {"z": Z}), {"label": "no"}, "INVALID_ARGUMENT", "version label: no"),
        (("decide", {"z": Z}), {}, "FAILED_PRECONDITION", "decide"),
        (("decode", {}), {}, "INVALID_ARGUMENT", "z"),
        (("decode", {"z": Z, "y": Z}), {}, "INVALID_ARGUMENT", "z"),
        (("decode", {"z": Z.astype(np.int32)}), {}, "INVALID_ARGUMENT", "int32"),
        (("decode", {"z": np.zeros((17, 2), np.float32)}), {}, "INVALID_ARGUMENT", "16"),
    ],
)
def test_grpc_errors(running, arguments, spec, code, message):
    with pytest.raises(grpc.RpcError, match=message) as raised:
        running.prediction.Predict(predict_request(*arguments, **spec), timeout=20)
    assert raised.value.code().name == code


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/models/nobody:predict", '{"inputs": 1}', 404, "Servable not found"),
        (f"{MODEL}/versions/7:predict", '{"inputs": 1}', 404, "Servable not found"),
        (f"{MODEL}/labels/no:predict", '{"inputs": 1}', 400, "version label: no"),
        (f"{MODEL}:predict", '{"signature_name": "decide", "inputs": 1}', 400, "decide"),
        (f"{MODEL}:predict", '{"signature_name": 3, "inputs": 1}', 400, "string"),
        (f"{MODEL}:predict", '{"inputs": [1', 400, "JSON Parse error"),
        (f"{MODEL}:predict", "", 400, "JSON Parse error: The document is empty"),
        (f"{MODEL}:predict", "[1]", 400, "Is not object"),
        (f"{MODEL}:predict", "{}", 400, "instances"),
        (f"{MODEL}:predict", '{"inputs": 1, "instances": [1]}', 400, "one of"),
        (f"{MODEL}:predict", '{"instances": []}', 400, "instances"),
        (
            f"{MODEL}:predict",
            '{"signature_name": "decode", "instances": [["a", 1]]}',
            400,
            "z|String",
        ),
        (
            f"{MODEL}:predict",
            '{"signature_name": "decode", "instances": [[1], [1, 2]]}',
            400,
            "z|size",
        ),
        (f"{MODEL}:elect", "{}", 400, "Malformed request: POST"),
        ("/v1/models/:predict", "{}", 400, "Malformed request: POST"),
    ],
)
def test_rest_errors(running, path, body, status, message):
    response = running.http.post(path, content=body)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert any(part in response.json()["error"] for part in message.split("|"))


def test_status_of_what_is_not_there(running):
    for path, what in (("nobody", "any versions of"), ("shapes/versions/7", "version 7 of")):
        response = running.http.get(f"/v1/models/{path}")
        assert response.status_code == 404
        name = path.partition("/")[0]
        assert response.json() == {"error": f"Could not find {what} model {name}"}
