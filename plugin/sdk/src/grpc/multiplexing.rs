//! Two questions about the process itself.
//!
//! Owns the answers: yes, it serves several mounts; and its version.

use tonic::{Request, Response, Status};
use vault_plugin_proto::{
    logical::{self, VersionReply, plugin_version_server::PluginVersion},
    pluginutil::multiplexing::{
        MultiplexingSupportRequest, MultiplexingSupportResponse,
        plugin_multiplexing_server::PluginMultiplexing,
    },
};

#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) version: String,
}

#[tonic::async_trait]
impl PluginMultiplexing for About {
    async fn multiplexing_support(
        &self,
        _: Request<MultiplexingSupportRequest>,
    ) -> Result<Response<MultiplexingSupportResponse>, Status> {
        Ok(Response::new(MultiplexingSupportResponse {
            supported: true,
        }))
    }
}

#[tonic::async_trait]
impl PluginVersion for About {
    async fn version(&self, _: Request<logical::Empty>) -> Result<Response<VersionReply>, Status> {
        Ok(Response::new(VersionReply {
            plugin_version: self.version.clone(),
        }))
    }
}
