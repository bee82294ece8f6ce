//! `check`: what works between this mount and its gateway, and what does not.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vault_plugin_sdk::{Error, Operation, Path, Request, Response};

use crate::backend::State;
use crate::client::GatewayInfo;

const SYNOPSIS: &str = "Whether the gateway and its admin key work.";
const DESCRIPTION: &str = "Calls the gateway and says whether it can be reached, which gateway and \
version it is, whether the admin key is good, and how far the clocks differ. A gateway that is down \
is part of the answer, not an error.";

pub(crate) fn path() -> Path<State> {
    Path::new("check")
        .operation_forwarded(Operation::Read, read)
        .help(SYNOPSIS, DESCRIPTION)
}

async fn read(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let client = state.client(&req).await?;
    let (gateway, admin_key) = tokio::join!(client.gateway(), client.verify());
    let mut answer = Map::from_iter([("base_url".to_owned(), json!(client.base_url()))]);
    answer.insert("reachable".into(), json!(gateway.is_ok()));
    match gateway {
        Ok(info) => tell_gateway(&mut answer, &info),
        Err(error) => {
            answer.insert("gateway_error".into(), json!(error.to_string()));
        }
    }
    answer.insert("admin_key_works".into(), json!(admin_key.is_ok()));
    if let Err(error) = admin_key {
        answer.insert("admin_key_error".into(), json!(error.to_string()));
    }
    Ok(Some(Response::data(answer)))
}

fn tell_gateway(answer: &mut Map<String, Value>, info: &GatewayInfo) {
    let name = if info.is_llm_proxy {
        "llm-proxy"
    } else {
        "LiteLLM"
    };
    answer.insert("gateway".into(), json!(name));
    answer.insert("version".into(), json!(info.version));
    answer.insert("features".into(), json!(info.features));
    let seconds = info.clock_difference.map(|ahead| ahead.num_seconds());
    answer.insert("clock_difference".into(), json!(seconds));
}
