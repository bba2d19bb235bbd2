//! Postern in a pod whose redirect is in place.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use postern_config::layout::INBOUND_PORT;
use tokio::net::TcpStream;

use super::{BACKEND, HTTP, Kind, Programs, Proxy, first_handshake, log_of, postern};
use crate::backend;
use crate::load::{Asked, Way};
use crate::pki::{Offer, Pki};
use crate::pod::{self, Pod};
use crate::process::Process;

/// Of its log.
const NAME: &str = "postern-redirected";

impl Proxy {
    /// Starts Postern and an application in a pod, closes the pod, and makes sure that callers come in by the redirect
    /// and not otherwise: nobody listens on the port that they call, so it refuses them before and answers after.
    pub(crate) async fn redirected(programs: &Programs, pki: &Pki) -> Result<Self> {
        let pod = Pod::new()?;
        let application = || TcpListener::bind(BACKEND).context("the application in the pod listens");
        backend::serve_on(pod.run(application)?)?;
        let arguments = ["--config".to_owned(), postern::redirected_configuration(pki)?];
        let log = pki.directory.join(format!("{NAME}.log"));
        let program = programs.sidecar.display().to_string();
        let begin = Instant::now();
        let process = pod.run(|| Process::start(&program, &arguments, &log))?;
        let mut proxy =
            Self { kind: Kind::Postern, process, first_handshake: begin.elapsed(), pod: Some(pod) };
        let called = proxy.way(pki, HTTP, Offer::Http1)?;
        let listens = SocketAddr::from((pod::ADDRESS, INBOUND_PORT));
        let direct = Way { address: listens, ..called.clone() };
        proxy.first_handshake = first_handshake(&direct, begin, NAME, pki).await?;
        refused(called.address).await?;
        if let Some(pod) = &proxy.pod {
            pod.close(&programs.sidecar)?;
        }
        let answers = called.answers(&Asked::get(2)).await;
        answers.with_context(|| format!("the redirect in the pod doesn't work:\n{}", log_of(NAME, pki)))?;
        Ok(proxy)
    }

    /// Whether it stands behind a pod's redirect.
    pub(crate) fn is_redirected(&self) -> bool {
        self.pod.is_some()
    }
}

/// Makes sure that nobody listens there.
async fn refused(address: SocketAddr) -> Result<()> {
    match TcpStream::connect(address).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("{address} should refuse callers without a redirect"))
        }
        Ok(_) => bail!("{address} answers without a redirect, so the redirect would not be measured"),
    }
}
