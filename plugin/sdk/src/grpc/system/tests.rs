//! Goal: what servers offer differently comes out as it is, and what one does
//! not offer as an error of its own. The server is real gRPC on a unix socket.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::DateTime;
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    Request, Response,
    transport::{Endpoint, Server, Uri},
};
use vault_plugin_proto::{
    logical,
    pb::{
        events_server::{Events, EventsServer},
        system_view_server::{SystemView as Service, SystemViewServer},
    },
};

use super::*;
use crate::tasks::Tasks;

/// The next maximum TTL in seconds of a server whose mount is tuned all the time.
static TUNED: AtomicI64 = AtomicI64::new(1);

/// Which server is played.
#[derive(Clone, Copy, PartialEq)]
enum Host {
    Enterprise,
    Community,
    OpenBao,
}

impl Host {
    /// What only Vault serves, and only its Enterprise edition does.
    fn offer<T>(self, answer: T) -> Result<T, Status> {
        match self {
            Self::Enterprise => Ok(answer),
            Self::Community => Err(Status::internal(
                "error: rotation manager capabilities not supported in Vault community edition",
            )),
            Self::OpenBao => Err(Status::unimplemented("unknown method")),
        }
    }
}

macro_rules! host {
    ($($name:ident($args:ident) -> $reply:ident = $body:expr;)*) => {
        #[tonic::async_trait]
        impl Service for Host {$(
            async fn $name(
                &self,
                request: Request<pb::$args>,
            ) -> Result<Response<pb::$reply>, Status> {
                let answer: fn(Host, pb::$args) -> Result<pb::$reply, Status> = $body;
                answer(*self, request.into_inner()).map(Response::new)
            }
        )*}
    };
}

host! {
    default_lease_ttl(Empty) -> TtlReply = |_, _| Ok(pb::TtlReply { ttl: 60_000_000_000 });
    max_lease_ttl(Empty) -> TtlReply = |host, _| Ok(pb::TtlReply {
        ttl: match host {
            // Tuned with every question.
            Host::Enterprise => TUNED.fetch_add(1, Ordering::SeqCst) * 1_000_000_000,
            _ => -1,
        },
    });
    tainted(Empty) -> TaintedReply = |_, _| Ok(pb::TaintedReply { tainted: true });
    caching_disabled(Empty) -> CachingDisabledReply =
        |_, _| Ok(pb::CachingDisabledReply { disabled: true });
    replication_state(Empty) -> ReplicationStateReply =
        |_, _| Ok(pb::ReplicationStateReply { state: 64 | 16384 });
    response_wrap_data(ResponseWrapDataArgs) -> ResponseWrapDataReply = |_, args| {
        assert_eq!((args.data.as_str(), args.ttl), (r#"{"a":1}"#, 1_000_000_000));
        let wrap_info = pb::ResponseWrapInfo { token: "t".to_owned(), ..Default::default() };
        Ok(pb::ResponseWrapDataReply { wrap_info: Some(wrap_info), err: String::new() })
    };
    mlock_enabled(Empty) -> MlockEnabledReply = |_, _| Ok(pb::MlockEnabledReply { enabled: true });
    local_mount(Empty) -> LocalMountReply = |_, _| Ok(pb::LocalMountReply { local: true });
    entity_info(EntityInfoArgs) -> EntityInfoReply = |_, args| {
        if args.entity_id == "none" {
            return Ok(pb::EntityInfoReply::default());
        }
        let entity = logical::Entity { name: "ann".to_owned(), ..Default::default() };
        Ok(pb::EntityInfoReply { entity: Some(entity), err: String::new() })
    };
    plugin_env(Empty) -> PluginEnvReply = |_, _| Ok(pb::PluginEnvReply {
        plugin_environment: None,
        err: "no version".to_owned(),
    });
    groups_for_entity(EntityInfoArgs) -> GroupsForEntityReply = |_, args| {
        let group = logical::Group { id: args.entity_id, ..Default::default() };
        Ok(pb::GroupsForEntityReply { groups: vec![group], err: String::new() })
    };
    generate_password_from_policy(GeneratePasswordFromPolicyRequest)
        -> GeneratePasswordFromPolicyReply = |_, args| match args.policy_name.as_str() {
            "good" => Ok(pb::GeneratePasswordFromPolicyReply { password: "pw".to_owned() }),
            _ => Err(Status::invalid_argument("no such policy")),
        };
    cluster_info(Empty) -> ClusterInfoReply = |_, _| Ok(pb::ClusterInfoReply {
        cluster_id: "id".to_owned(),
        ..Default::default()
    });
    generate_identity_token(GenerateIdentityTokenRequest) -> GenerateIdentityTokenResponse =
        |host, args| host.offer(pb::GenerateIdentityTokenResponse {
            token: args.audience,
            ttl: args.ttl,
        });
    register_rotation_job(RegisterRotationJobRequest) -> RegisterRotationJobResponse =
        |host, args| {
            let job = args.job.unwrap();
            assert_eq!((job.rotation_window, job.rotation_period), (60, 3600));
            let rotation_id = format!("{}{}/{}", job.mount_point, job.path, job.name);
            host.offer(pb::RegisterRotationJobResponse { rotation_id, err: String::new() })
        };
    deregister_rotation_job(DeregisterRotationJobRequest) -> Empty = |host, args| {
        assert_eq!(args.req.unwrap().req_path, "config");
        match host {
            Host::OpenBao => Err(Status::unimplemented("unknown method")),
            _ => Ok(pb::Empty {}),
        }
    };
    get_rotation_information(RotationInfoRequest) -> RotationInfoReply = |host, _| {
        host.offer(pb::RotationInfoReply {
            issue_time: -62_135_596_800,
            expire_time: 1_700_000_000,
            ttl: 90,
        })
    };
}

#[tonic::async_trait]
impl Events for Host {
    async fn send_event(
        &self,
        request: Request<pb::SendEventRequest>,
    ) -> Result<Response<pb::Empty>, Status> {
        let event = request.into_inner().event.unwrap();
        assert!(event.metadata.unwrap().fields.contains_key("path"));
        Ok(Response::new(pb::Empty {}))
    }
}

async fn served(host: Host) -> (RemoteSystem, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host");
    let listener = UnixListener::bind(&path).unwrap();
    let mut server = Server::builder().add_service(SystemViewServer::new(host));
    if host != Host::OpenBao {
        server = server.add_service(EventsServer::new(host));
    }
    Tasks::new().background(async move {
        let connections = UnixListenerStream::new(listener);
        server.serve_with_incoming(connections).await.unwrap();
    });
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move {
            UnixStream::connect(path)
                .await
                .map(hyper_util::rt::TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    let channel = endpoint.connect_with_connector(connector).await.unwrap();
    (RemoteSystem::new(Link::new(channel)), dir)
}

fn job() -> RotationJob {
    let mut job = RotationJob::new("root", "litellm/", "config");
    job.period = Duration::from_secs(3600);
    job.window = Duration::from_secs(60);
    job
}

#[tokio::test]
async fn what_every_server_answers() {
    let (system, _dir) = served(Host::OpenBao).await;
    assert_eq!(
        system.default_lease_ttl().await.unwrap(),
        Duration::from_secs(60)
    );
    assert_eq!(system.max_lease_ttl().await.unwrap(), Duration::ZERO);
    assert!(system.tainted().await.unwrap() && system.caching_disabled().await.unwrap());
    assert!(system.mlock_enabled().await.unwrap() && system.local_mount().await.unwrap());
    let state = system.replication_state().await.unwrap();
    assert!(state.is_standby() && state.is_performance_secondary());
    let entity = system.entity_info("a").await.unwrap().unwrap();
    assert_eq!(entity.name, "ann");
    assert_eq!(system.entity_info("none").await.unwrap(), None);
    assert_eq!(system.groups_for_entity("g").await.unwrap()[0].id, "g");
    assert_eq!(system.cluster_info().await.unwrap().id, "id");
    let password = system.generate_password_from_policy("good").await.unwrap();
    assert_eq!(password.expose(), "pw");
    let data = Map::from_iter([("a".to_owned(), Value::from(1))]);
    let wrapped = system.response_wrap_data(data, Duration::from_secs(1));
    assert_eq!(wrapped.await.unwrap().token.expose(), "t");
}

#[tokio::test]
async fn the_maximum_ttl_is_asked_for_once_in_a_burst_and_again_later() {
    let (system, _dir) = served(Host::Enterprise).await;
    let first = system.max_lease_ttl().await.unwrap();
    tokio::time::pause();
    assert_eq!(system.max_lease_ttl().await, Ok(first));
    tokio::time::advance(MAX_LEASE_TTL_HOLDS).await;
    tokio::time::resume();
    assert_eq!(
        system.max_lease_ttl().await,
        Ok(first + Duration::from_secs(1))
    );
}

#[tokio::test]
async fn a_refusal_keeps_its_words() {
    let (system, _dir) = served(Host::OpenBao).await;
    let refused = SystemError::Refused("no version".to_owned());
    assert_eq!(system.plugin_env().await, Err(refused));
    let error = system.generate_password_from_policy("bad").await;
    assert_eq!(error.unwrap_err().to_string(), "no such policy");
}

#[tokio::test]
async fn enterprise_offers_more() {
    let (system, _dir) = served(Host::Enterprise).await;
    let token = system
        .generate_identity_token("aud", Duration::from_secs(30))
        .await
        .unwrap();
    assert_eq!(
        (token.token.expose(), token.ttl),
        ("aud", Duration::from_secs(30))
    );
    let id = system.register_rotation_job(job()).await.unwrap();
    assert_eq!(id, "litellm/config/root");
    let info = system.rotation_info("config").await.unwrap();
    assert_eq!(info.last, None, "Go's zero time is never");
    assert_eq!(info.next, DateTime::from_timestamp(1_700_000_000, 0));
    assert_eq!(info.ttl, Duration::from_secs(90));
    let gone = system.deregister_rotation_job("litellm/", "config");
    gone.await.unwrap();
}

#[tokio::test]
async fn a_server_that_offers_less_says_which_way() {
    for (host, expected) in [
        (Host::Community, SystemError::EnterpriseOnly),
        (Host::OpenBao, SystemError::Unsupported),
    ] {
        let (system, _dir) = served(host).await;
        let token = system.generate_identity_token("aud", Duration::ZERO).await;
        assert_eq!(token.unwrap_err(), expected);
        assert_eq!(
            system.register_rotation_job(job()).await,
            Err(expected.clone())
        );
        assert_eq!(system.rotation_info("config").await, Err(expected));
    }
}

#[tokio::test]
async fn events_are_vaults_alone() {
    let event = || Event::new("notes/write", "notes/a");
    let (system, _dir) = served(Host::Community).await;
    assert_eq!(system.send_event(event()).await, Ok(()));
    let (system, _dir) = served(Host::OpenBao).await;
    let refused = system.send_event(event()).await;
    assert_eq!(refused, Err(SystemError::Unsupported));
}
