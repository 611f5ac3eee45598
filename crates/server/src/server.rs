//! Start and stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::app::{App, Entrance};
use crate::backend::Dependencies;
use crate::config::ServerConfig;
use crate::error::ServerError;
use crate::host::HostGuard;
use crate::{listen, rpc, web};

/// A server that listens already and answers once it runs.
pub struct Server {
    app: Arc<App>,
    main: TcpListener,
    main_address: SocketAddr,
    admin: Option<(TcpListener, SocketAddr)>,
}

impl Server {
    /// Opens the configured addresses. Errors: [`ServerError`].
    pub async fn bind(config: ServerConfig, parts: Dependencies) -> Result<Self, ServerError> {
        let main = listen_on(&config.listen).await?;
        let admin = match config.admin_listen.as_str() {
            "" | "off" => None,
            address => Some(listen_on(address).await?),
        };
        Self::with_listeners(config, parts, main, admin)
    }

    /// A server on listeners that are open already; the addresses of the configuration do not count.
    pub fn with_listeners(
        config: ServerConfig,
        parts: Dependencies,
        main: TcpListener,
        admin: Option<TcpListener>,
    ) -> Result<Self, ServerError> {
        let main_address = address_of(&main, &config.listen)?;
        let admin = match admin {
            Some(admin) => {
                let address = address_of(&admin, &config.admin_listen)?;
                Some((admin, address))
            }
            None => None,
        };
        Ok(Self { app: Arc::new(App::new(config, parts)?), main, main_address, admin })
    }

    /// Address of the main port.
    pub fn address(&self) -> SocketAddr {
        self.main_address
    }

    /// Address of the admin port, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    /// Whether the user interface is inside the binary.
    pub fn has_ui() -> bool {
        crate::ui::is_embedded()
    }

    /// Answers requests until `shutdown` is ready; then stops accepting and lets those in flight finish.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        let Self { app, main, main_address, admin } = self;
        let (stop, stopping) = watch::channel(false);
        let entrance = |address: SocketAddr, router| {
            let guard = HostGuard::new(address.ip(), &app.config.allowed_hosts);
            let entrance = Entrance::new(app.clone(), guard, router);
            move |request| entrance.clone().handle(request)
        };
        let limits = app.config.connections.clone();
        let main_router = web::routes(&app).merge(rpc::routes(&app));
        let main = listen::serve(main, limits.clone(), entrance(main_address, main_router), stopping.clone());
        let admin = async {
            if let Some((listener, address)) = admin {
                listen::serve(listener, limits, entrance(address, web::admin_routes(&app)), stopping).await;
            }
        };
        let announce = async {
            shutdown.await;
            app.stop();
            // Nobody listens any more only when both ports have ended already.
            let _ = stop.send(true);
        };
        tokio::join!(main, admin, announce);
    }
}

async fn listen_on(address: &str) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address: address.to_owned(), source })
}

fn address_of(listener: &TcpListener, configured: &str) -> Result<SocketAddr, ServerError> {
    listener.local_addr().map_err(|source| ServerError::Listen { address: configured.to_owned(), source })
}
