//! The file's rules as tables: what is read, what is warned about, what is
//! refused, each with its place.

use std::time::Duration;

use super::{super::Provider, Environment, File, Wanted, parse};

const EXAMPLE: &str = include_str!("../../../config.example.yaml");

fn environment() -> Environment {
    Environment::of(&[
        ("LLM_PROXY_MASTER_KEY", "sk-master-key-of-the-tests"),
        ("OPENAI_API_KEY", "sk-openai"),
        ("DASHSCOPE_API_KEY", "sk-dashscope"),
        ("VLLM_API_KEY", "sk-vllm"),
    ])
}

fn read(text: &str) -> File {
    parse(text, &environment(), Wanted::All).unwrap().0
}

fn refused(text: &str) -> String {
    parse(text, &environment(), Wanted::All)
        .unwrap_err()
        .to_string()
}

#[test]
fn the_example_is_valid_and_without_warnings() {
    let (file, warnings) = parse(EXAMPLE, &environment(), Wanted::All).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(file.models.len() >= 3);
}

#[test]
fn deployments_get_their_base_key_price_and_limits() {
    let file = read(
        "model_list:\n\
         - model_name: fast\n\
         \x20 litellm_params: {model: openai/gpt-4o-mini, timeout: 12.5}\n\
         \x20 model_info: {input_cost_per_token: 1.5e-07, output_cost_per_token: '0.0000006', max_output_tokens: 100}\n\
         - model_name: own\n\
         \x20 litellm_params: {model: openai/org/served, api_base: 'http://127.0.0.1:8000/v1/', api_key: os.environ/VLLM_API_KEY}\n\
         \x20 model_info: {input_cost_per_token: 0, output_cost_per_token: 0}\n\
         - model_name: qwen\n\
         \x20 litellm_params: {model: dashscope/qwen-max}\n",
    );
    let [fast, own, qwen] = file.models.as_slice() else {
        panic!("three models expected");
    };
    assert_eq!(fast.upstream_model, "gpt-4o-mini");
    assert_eq!(fast.api_base.as_str(), "https://api.openai.com/v1");
    assert_eq!(
        fast.api_key.as_ref().unwrap().secret().expose(),
        "sk-openai"
    );
    assert_eq!(fast.price.as_ref().unwrap().input.picos(), 150_000);
    assert_eq!(fast.price.as_ref().unwrap().output.picos(), 600_000);
    assert_eq!(fast.max_output_tokens, Some(100));
    assert_eq!(fast.timeout, Some(Duration::from_millis(12_500)));
    assert!(!fast.free);
    assert_eq!(own.provider, Provider::OpenAiCompatible);
    assert_eq!(own.upstream_model, "org/served");
    assert_eq!(own.api_base.as_str(), "http://127.0.0.1:8000/v1");
    assert_eq!(own.api_key.as_ref().unwrap().secret().expose(), "sk-vllm");
    assert!(own.free);
    assert_eq!(
        qwen.api_base.as_str(),
        "https://dashscope.aliyuncs.com/compatible-mode/v1"
    );
    assert_eq!(
        qwen.api_key.as_ref().unwrap().secret().expose(),
        "sk-dashscope"
    );
    assert!(qwen.price.is_none());
    assert_ne!(fast.id, qwen.id);
}

#[test]
fn the_servers_settings_are_read() {
    let file = read(
        "llm_proxy:\n  server:\n    listen: '0.0.0.0:8080'\n    admin_listen: '127.0.0.1:0'\n    \
         connections_max: 7\n    body_bytes_max: 1000\n    drain_timeout_s: 3\n\
         litellm_settings: {budget_exceeded_status_code: 429}\n\
         general_settings: {master_key: os.environ/LLM_PROXY_MASTER_KEY, database_url: 'sqlite://a.db'}\n",
    );
    assert_eq!(file.listen.unwrap().to_string(), "0.0.0.0:8080");
    assert_eq!(file.admin_listen.unwrap().to_string(), "127.0.0.1:0");
    assert_eq!(
        (file.connections_max, file.body_bytes_max),
        (Some(7), Some(1000))
    );
    assert_eq!(file.drain_timeout, Some(Duration::from_secs(3)));
    assert_eq!(file.budget_exceeded_status.unwrap().as_u16(), 429);
    assert_eq!(
        file.master_key.unwrap().expose(),
        "sk-master-key-of-the-tests"
    );
    assert_eq!(file.database_url.unwrap().expose(), "sqlite://a.db");
}

#[test]
fn what_is_not_supported_is_warned_about_by_name_and_line() {
    let (_, warnings) = parse(
        "router_settings:\n  routing_strategy: simple-shuffle\ngeneral_settings:\n  alerting: [slack]\n",
        &environment(),
        Wanted::All,
    )
    .unwrap();
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "line 2, column 3: router_settings.routing_strategy is not supported and has no effect",
            "line 4, column 3: general_settings.alerting is not supported and has no effect",
        ]
    );
}

#[test]
fn a_model_that_is_not_what_it_seems_is_warned_about() {
    let prices = "input_cost_per_token: 1e-6, output_cost_per_token: 2e-6";
    let free = "input_cost_per_token: 0, output_cost_per_token: 0";
    for (name, model, info, told) in [
        (
            "a",
            "openai/a",
            prices,
            Some("no model_info.max_output_tokens"),
        ),
        ("a", "openai/a", "max_output_tokens: 100", None),
        ("a", "openai/a", free, None),
        ("a", "echo/a", prices, None),
        ("'openai/*'", "openai/a", free, Some("no pattern")),
    ] {
        let entry = format!(
            "model_list:\n- model_name: {name}\n  litellm_params: {{model: {model}}}\n  model_info: {{{info}}}\n"
        );
        let (_, warnings) = parse(&entry, &environment(), Wanted::All).unwrap();
        let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), usize::from(told.is_some()), "{texts:?}");
        let told = told.unwrap_or_default();
        let starts = |text: &String| text.starts_with("line 2, column 3: ") && text.contains(told);
        assert!(texts.iter().all(starts), "{texts:?}");
    }
}

#[test]
fn usage_is_kept_for_whole_days_and_a_month_at_least() {
    for (text, expected) in [
        (
            "llm_proxy:\n  store:\n    usage_retention: 30d\n",
            "line 3, column 22: usage_retention must be a whole number of days, at least 31, as in 90d",
        ),
        (
            "llm_proxy: {store: {usage_retention: 90h}}\n",
            "usage_retention must be a whole number of days",
        ),
        (
            "llm_proxy: {store: {usage: 90d}}\n",
            "llm_proxy.store has no key named usage",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}\n=> {error}");
    }
}

#[test]
fn budgets_follow_a_time_zone_that_is_known() {
    for (text, expected) in [
        (
            "llm_proxy: {ledger: {time_zone: Berlin}}\n",
            "time_zone must be a name of the IANA database, as in Europe/Berlin",
        ),
        (
            "llm_proxy: {ledger: {zone: UTC}}\n",
            "llm_proxy.ledger has no key named zone",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}\n=> {error}");
    }
}

#[test]
fn mistakes_name_their_place_and_what_to_do() {
    for (text, expected) in [
        ("a: [1\nb: 2\n", "line "),
        ("a: 1\na: 2\n", "line 2, column 1"),
        ("- 1\n", "the configuration must be a map"),
        (
            "llm_proxy:\n  server:\n    listne: x\n",
            "line 3, column 5: llm_proxy.server has no key named listne",
        ),
        (
            "llm_proxy:\n  server:\n    connections_max: 1000001\n",
            "line 3, column 22: connections_max must be at most 1000000",
        ),
        (
            "llm_proxy: {cache: {}}\n",
            "llm_proxy has no key named cache",
        ),
        (
            "guardrails: [{}]\n",
            "line 1, column 1: guardrails protects something",
        ),
        (
            "general_settings:\n  allowed_ips: ['1.2.3.4']\n",
            "line 2, column 3: general_settings.allowed_ips",
        ),
        (
            "litellm_settings: {max_budget: 5}\n",
            "litellm_settings.max_budget",
        ),
        (
            "general_settings:\n  master_key: os.environ/NOT_SET\n",
            "line 2, column 15: master_key asks for the environment variable NOT_SET",
        ),
        (
            "model_list:\n- model_name: a\n",
            "litellm_params.model is missing",
        ),
        (
            "model_list:\n- model_name: a\n  litellm_params: {model: vertex_ai/x}\n",
            "line 3, column 27: the provider vertex_ai is not supported",
        ),
        (
            "model_list:\n- model_name: a\n  litellm_params: {model: openai/x, api_base: 'file:///etc'}\n",
            "api_base must be an http or https address",
        ),
        (
            "model_list:\n- model_name: a\n  litellm_params: {model: openai/x, api_key: \"sk-\\n\"}\n",
            "api_key holds a character that no header can carry",
        ),
        (
            "model_list:\n- model_name: a\n  litellm_params: {model: openai/x}\n  model_info: {input_cost_per_token: -1, output_cost_per_token: 1}\n",
            "input_cost_per_token",
        ),
        (
            "model_list:\n- model_name: a\n  litellm_params: {model: openai/x}\n  model_info: {input_cost_per_token: 1}\n",
            "needs both",
        ),
        (
            "litellm_settings: {budget_exceeded_status_code: 200}\n",
            "must be 400, 422 or 429",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(expected), "{text}\n=> {error}");
    }
}

#[test]
fn an_error_never_shows_a_value() {
    let error = refused("general_settings: {master_key: [sk-canary-canary]}\n");
    assert!(!error.contains("canary"), "{error}");
    let error = refused("general_settings:\n  master_key: \"sk-canary\n");
    assert!(!error.contains("canary"), "{error}");
}
