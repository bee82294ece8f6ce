//! Serving, from the socket to the end.
//!
//! Owns the runtime, the services, the signals and the order of the shutdown.
//! Vault kills a plugin two seconds after it asked it to go.

use std::{io, io::Write, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Server, server::Router};
use tracing::{debug, info};
use vault_plugin_proto::{
    logical::plugin_version_server::PluginVersionServer,
    pb::backend_server::BackendServer,
    plugin::{
        grpc_broker_server::GrpcBrokerServer, grpc_controller_server::GrpcControllerServer,
        grpc_stdio_server::GrpcStdioServer,
    },
    pluginutil::multiplexing::plugin_multiplexing_server::PluginMultiplexingServer,
};

use super::{ServeOptions, catalog_version};
use crate::{
    broker::Broker,
    controller::Controller,
    grpc::{
        MESSAGE_BYTES_MAX, backend::BackendService, engine::Factory, instances::Instances,
        multiplexing::About,
    },
    handshake::{self, Plan},
    listener::{Conn, Socket},
    mtls::{Tls, TlsError},
    presence::Presence,
    stop::Stop,
    tasks::Tasks,
};

/// For handlers that run, and answers that are on their way, when the end comes.
const END_TIMEOUT: Duration = Duration::from_millis(1500);

#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error(
        "cannot listen on a unix socket (its directory is TMPDIR, and the path must be short): {0}"
    )]
    Listen(io::Error),
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("serving failed: {0}")]
    Serve(#[from] tonic::transport::Error),
}

pub(super) fn run(
    options: &ServeOptions,
    plan: &Plan,
    factory: Arc<Factory>,
) -> Result<(), RunError> {
    // One thread: a request is a handful of small messages over local sockets,
    // and handing each from thread to thread costs more than handling it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(options, plan, factory));
    // A handler that never ends must not hold the process.
    runtime.shutdown_background();
    result
}

async fn serve(options: &ServeOptions, plan: &Plan, factory: Arc<Factory>) -> Result<(), RunError> {
    // Ctrl-C reaches the whole process group, and the server still needs the
    // plugin to revoke: taking the signal and doing nothing ignores it.
    let _interrupt = signal(SignalKind::interrupt())?;
    let terminate = signal(SignalKind::terminate())?;
    let tls = plan.host_certificate.as_deref().map(Tls::new).transpose()?;
    let socket = Socket::bind(plan.socket_dir.as_deref(), plan.socket_group.as_deref())
        .map_err(RunError::Listen)?;
    let socket = Arc::new(socket);
    let (stop, tasks, presence) = (Stop::new(), Tasks::new(), Presence::new());
    let broker = Broker::new(tls.clone(), stop.clone(), tasks.clone());
    let instances = Instances::default();
    let service = BackendService {
        factory,
        broker: broker.clone(),
        instances: instances.clone(),
        metadata_mode: plan.metadata_mode,
    };
    let controller = Controller {
        stop: stop.clone(),
        tasks: tasks.clone(),
    };
    let router = router(options, service, broker, controller).await;

    announce(plan, &socket, tls.as_ref())?;
    let conns = socket
        .clone()
        .accept(tls.as_ref(), presence.clone(), &tasks);
    watch(terminate, presence, stop.clone(), &tasks);
    let ended = until_stopped(router, conns, &stop, &instances).await;
    socket.remove();
    ended
}

async fn router(
    options: &ServeOptions,
    service: BackendService,
    broker: Broker,
    controller: Controller,
) -> Router {
    let about = About {
        version: catalog_version(options.version),
    };
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_service_status("plugin", tonic_health::ServingStatus::Serving)
        .await;
    Server::builder()
        .add_service(
            BackendServer::new(service)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
        )
        .add_service(GrpcBrokerServer::new(broker))
        .add_service(GrpcControllerServer::new(controller.clone()))
        .add_service(GrpcStdioServer::new(controller))
        .add_service(PluginMultiplexingServer::new(about.clone()))
        .add_service(PluginVersionServer::new(about))
        .add_service(health_service)
}

/// The first and only bytes on stdout. The socket is bound: the host dials at once.
fn announce(plan: &Plan, socket: &Socket, tls: Option<&Tls>) -> io::Result<()> {
    let certificate = tls.map(Tls::certificate_base64).unwrap_or_default();
    let line = handshake::line(plan, &socket.path().to_string_lossy(), &certificate);
    let mut stdout = io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes())?;
    stdout.flush()
}

/// Raises the stop on SIGTERM and when the host has gone.
fn watch(mut terminate: Signal, presence: Presence, stop: Stop, tasks: &Tasks) {
    tasks.background(async move {
        tokio::select! {
            _ = terminate.recv() => info!("asked to end by a signal"),
            () = presence.gone() => info!("the host has gone"),
            () = stop.raised() => {}
        }
        stop.raise();
    });
}

/// Serves, then lets handlers end and answers leave, each for a limited time.
async fn until_stopped(
    router: Router,
    conns: mpsc::Receiver<io::Result<Conn>>,
    stop: &Stop,
    instances: &Instances,
) -> Result<(), RunError> {
    let raised = stop.raised();
    let serving = router.serve_with_incoming_shutdown(ReceiverStream::new(conns), raised);
    let mut serving = Box::pin(serving);
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = stop.raised() => debug!("ending"),
    }
    // Answers leave while the handlers end, so both are waited for at once.
    let leaving = tokio::time::timeout(END_TIMEOUT, &mut serving);
    let (_, left) = tokio::join!(instances.drain(END_TIMEOUT), leaving);
    match left {
        Ok(ended) => Ok(ended?),
        Err(_) => Ok(()),
    }
}
