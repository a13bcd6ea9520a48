"""Cases of the commands about serverless; see cases.py."""

from __future__ import annotations

from cases import CHANGE, ONCE, Case

V0 = "/api/v0"
ENDPOINTS, WORKERGROUPS = V0 + "/endptjobs/", V0 + "/autojobs/"
DEPLOYMENT = V0 + "/deployment/644/"
NEW = {"client_id": "me", "autoscaler_instance": "prod"}
FILTERS = "verified=true rentable=true rented=false"

# The market has the endpoints 701 and 702, the workergroup 801 and the deployments
# 644 (square, default), 645 (square, beta) and 646.
CASES: dict[str, Case] = {
    "show endpoints": Case("show endpoints", ("GET", ENDPOINTS, None), "endpoints"),
    "create endpoint": Case(
        "create endpoint --endpoint_name llm --cold_workers 0 --max_workers 4",
        ("POST", ENDPOINTS, {
            **NEW, "endpoint_name": "llm", "min_load": 0, "min_cold_load": 0,
            "cold_workers": 0, "max_workers": 4,
        }),
        "create_endpoint",
        ONCE,
    ),
    "update endpoint": Case(
        "update endpoint 701 --endpoint_state suspended",
        ("PUT", ENDPOINTS + "701/",
         {**NEW, "endptjob_id": 701, "endpoint_state": "suspended"}),
        "update_endpoint",
        CHANGE,
    ),
    "delete endpoint": Case(
        "delete endpoint 701",
        ("DELETE", ENDPOINTS + "701/", {"client_id": "me", "endptjob_id": 701}),
        "delete_endpoint",
        CHANGE,
    ),
    "show workergroups": Case(
        "show workergroups", ("GET", WORKERGROUPS, None), "workergroups"
    ),
    "create workergroup": Case(
        "create workergroup --endpoint_id 701 --template_hash abc --gpu_ram 24"
        " --search_params 'gpu_name=RTX_4090 reliability>0.98'",
        ("POST", WORKERGROUPS, {
            **NEW, "endpoint_id": 701, "template_hash": "abc", "gpu_ram": 24,
            "search_params": f"{FILTERS} gpu_name=RTX_4090 reliability>0.98",
        }),
        "create_workergroup",
        ONCE,
    ),
    "update workergroup": Case(
        "update workergroup 801 --gpu_ram 48",
        ("PUT", WORKERGROUPS + "801/",
         {"client_id": "me", "autojob_id": 801, "gpu_ram": 48}),
        "update_workergroup",
        CHANGE,
    ),
    "delete workergroup": Case(
        "delete workergroup 801",
        ("DELETE", WORKERGROUPS + "801/", {"client_id": "me", "autojob_id": 801}),
        "delete_workergroup",
        CHANGE,
    ),
    "get endpt-workers": Case(
        "get endpt-workers 701",
        ("POST", "/get_endpoint_workers/", {"id": 701}),
        "endpoint_workers",
    ),
    "get endpt-logs": Case(
        "get endpt-logs 701 --tail 100",
        ("POST", "/get_endpoint_logs/", {"id": 701, "tail": 100}),
        "endpoint_logs",
    ),
    "get wrkgrp-logs": Case(
        "get wrkgrp-logs 801",
        ("POST", "/get_autogroup_logs/", {"id": 801}),
        "workergroup_logs",
    ),
    "update workers": Case(
        "update workers 801",
        ("POST", "/update_workers/", {"workergroup_id": 801}),
        "update_workers",
        ONCE,
    ),
    "show deployments": Case(
        "show deployments", ("GET", V0 + "/deployments", None), "deployments"
    ),
    "show deployment": Case(
        "show deployment 644", ("GET", DEPLOYMENT, None), "deployment"
    ),
    "show deployment-versions": Case(
        "show deployment-versions 644",
        ("GET", DEPLOYMENT + "versions/", None),
        "deployment_versions",
    ),
    "start deployment": Case(
        "start deployment 644",
        ("POST", DEPLOYMENT + "start/", {}),
        "start_deployment",
        CHANGE,
    ),
    "stop deployment": Case(
        "stop deployment 644",
        ("POST", DEPLOYMENT + "stop/", {}),
        "stop_deployment",
        CHANGE,
    ),
    "delete deployment": Case(
        "delete deployment 644",
        ("DELETE", DEPLOYMENT, {}),
        "delete_deployment",
        CHANGE,
    ),
}  # fmt: skip
