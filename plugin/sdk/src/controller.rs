//! go-plugin's controller and stdio services.
//!
//! Owns the answer to Shutdown, after which the process ends, and a stdio
//! stream that stays open and carries nothing: logs go to stderr, and hosts
//! throw the rest away.

use std::pin::Pin;

use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};
use vault_plugin_proto::plugin::{
    Empty, StdioData, grpc_controller_server::GrpcController, grpc_stdio_server::GrpcStdio,
};

use crate::{stop::Stop, tasks::Tasks};

#[derive(Clone, Debug)]
pub(crate) struct Controller {
    pub(crate) stop: Stop,
    pub(crate) tasks: Tasks,
}

#[tonic::async_trait]
impl GrpcController for Controller {
    async fn shutdown(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        self.stop.raise();
        Ok(Response::new(Empty {}))
    }
}

#[tonic::async_trait]
impl GrpcStdio for Controller {
    type StreamStdioStream = Pin<Box<dyn Stream<Item = Result<StdioData, Status>> + Send>>;

    async fn stream_stdio(
        &self,
        _: Request<()>,
    ) -> Result<Response<Self::StreamStdioStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let stop = self.stop.clone();
        self.tasks.background(async move {
            tokio::select! {
                () = stop.raised() => {}
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
