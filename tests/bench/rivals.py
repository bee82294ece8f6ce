"""Other gateways in front of the same provider, each with its simplest
configuration of one key, beside ours with everything enforced."""

import json
import os
import secrets
import signal
import time

from calls import start_ours
from measure import free_port, say, tree_resident_mib
from report import Row
from stage import GATEWAY_CORE, CallsFailed, Contender

CONNECTIONS = 16
TARGETS = {"LiteLLM": 300, "Portkey": 30, "litellm-rs": 5}
ROWS = [Row("R8", f"CPU a call, c={CONNECTIONS} (µs), {name} ÷ ours governed", ("cpu", name), ("cpu", "governed"), ">=", target)
        for name, target in TARGETS.items()]


def litellm(stage, root):
    key, address = "sk-" + secrets.token_hex(16), f"127.0.0.1:{free_port()}"
    config = stage.folder / "litellm.yaml"
    config.write_text(json.dumps({
        "model_list": [{"model_name": "bench", "litellm_params": {
            "model": "openai/bench", "api_base": f"http://{stage.provider}/v1", "api_key": "sk-provider"}}],
        "general_settings": {"master_key": key}}))
    environment = {"HOME": str(root / "home"), "PATH": f"{root}/venv/bin:/usr/local/bin:/usr/bin:/bin",
                   "LANG": "C.UTF-8", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    pid = stage.start(GATEWAY_CORE, [
        root / "venv/bin/litellm", "--config", config, "--host", "127.0.0.1", "--port", address.split(":")[1],
        "--num_workers", "1", "--telemetry", "False"], environment)
    packages = next(root.glob("venv/lib/python3*/site-packages/litellm-[0-9]*.dist-info"))
    return Contender("LiteLLM", address, stage.write_keys("litellm", [key]), pid), packages.name.split("-")[1].removesuffix(".dist")


def portkey(stage, root):
    address, package = f"127.0.0.1:{free_port()}", root / "node_modules/@portkey-ai/gateway"
    pid = stage.start(GATEWAY_CORE, [
        "node", package / "build/start-server.js", f"--port={address.split(':')[1]}", "--headless"],
        dict(os.environ, NODE_ENV="production"))
    headers = ("x-portkey-provider: openai", f"x-portkey-custom-host: http://{stage.provider}/v1")
    version = json.loads((package / "package.json").read_text())["version"]
    return Contender("Portkey", address, stage.write_keys("portkey", ["sk-provider"]), pid, headers), version


def litellm_rs(stage, root):
    address = f"127.0.0.1:{free_port()}"
    config = stage.folder / "litellm-rs.yaml"
    # JSON is YAML too. Its development configuration, with nothing that is optional.
    config.write_text(json.dumps({
        "schema_version": "1.0",
        "server": {"host": "127.0.0.1", "port": int(address.split(":")[1]), "dev_mode": True},
        "providers": [{"name": "bench", "provider_type": "vllm", "api_key": "sk-provider", "enabled": True,
                       "base_url": f"http://{stage.provider}/v1", "endpoint_access": "private_network",
                       "models": ["bench"], "rpm": 10**9, "tpm": 10**9,
                       "max_concurrent_requests": 4096}],
        "router": {"strategy": "round_robin", "load_balancer": {"health_check_enabled": False}},
        "storage": {"database": {"url": "postgresql://unused", "enabled": False},
                    "redis": {"url": "redis://unused", "enabled": False}},
        "auth": {"enable_jwt": False, "enable_api_key": False, "allow_anonymous": True, "jwt_secret": ""},
        "pricing": {"source": "embedded://model_prices_extended", "unpriced_model_policy": "allow_unpriced",
                    "unpriced_fallback_cost_per_1k_tokens": 0.0},
        "rate_limit": {"enabled": False},
        "monitoring": {"metrics": {"enabled": False}, "tracing": {"enabled": False}},
        "cache": {"enabled": False}}))
    pid = stage.start(GATEWAY_CORE, [root / "bin/gateway", "--config", config])
    return Contender("litellm-rs", address, stage.write_keys("litellm-rs", ["sk-none"]), pid), root.name.rsplit("-", 1)[1]


RIVALS = {"LiteLLM": litellm, "Portkey": portkey, "litellm-rs": litellm_rs}


def run(stage, figures, rounds, seconds, installed):
    stage.start_provider()
    _, governed = start_ours(stage, "rivals")
    rivals, missing = begin(stage, installed)
    for _ in figures.rounds(rounds):
        figures.add("cpu", "governed", closed(stage, governed, seconds)["cpu_us"])
        for rival in list(rivals):
            os.killpg(rival.pid, signal.SIGCONT)
            try:
                told = closed(stage, rival, seconds)
            except CallsFailed as failed:
                # A rival's trouble is told, and costs no other contender its figures.
                rivals.remove(rival)
                missing[rival.name] = f"not measured: {failed}"
                say(missing[rival.name])
                continue
            finally:
                os.killpg(rival.pid, signal.SIGSTOP)
            figures.add("cpu", rival.name, told["cpu_us"])
            figures.add("rate", rival.name, told["rate"])
            figures.add("resident MiB", rival.name, tree_resident_mib(rival.pid))
    for name in missing:
        for case in [case for case in figures.cases if case[1] == name]:
            del figures.cases[case]
    return missing


def begin(stage, installed):
    """Starts what is installed. Each is stopped while others are measured."""
    rivals, missing = [], {}
    for name, make in RIVALS.items():
        if name not in installed:
            missing[name] = "not measured: it does not install here"
            continue
        contender, version = make(stage, installed[name])
        started = time.monotonic()
        trouble = wait_for_answer(stage, contender)
        if trouble:
            missing[name] = f"not measured: {trouble}"
            say(f"{name} {version} {missing[name]}")
            stage.end(contender.pid)
            continue
        say(f"{name} {version} answers after {time.monotonic() - started:.0f} s")
        stage.measure("closed", contender, "--connections", CONNECTIONS, "--seconds", 2)
        os.killpg(contender.pid, signal.SIGSTOP)
        rivals.append(contender)
    return rivals, missing


def wait_for_answer(stage, contender, patience=120):
    deadline = time.monotonic() + patience
    while True:
        told = {"refused": {"0": 1}}
        try:
            told = stage.load("closed", contender, "--connections", 1, "--calls", 1)
        except CallsFailed:
            pass
        if not told["refused"]:
            return None
        if time.monotonic() > deadline:
            return f"it answers no call, by status: {told['refused']}"
        time.sleep(0.2)


def closed(stage, contender, seconds):
    return stage.measure("closed", contender, "--connections", CONNECTIONS, "--seconds", seconds)
