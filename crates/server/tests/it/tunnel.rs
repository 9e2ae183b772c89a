//! Speaks TLS, or a proxy's header, for clients that do not: listens on a plain port and hands on what it hears.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::pki::{Authority, Pair};

/// What a client believes and shows.
pub(crate) fn config(
    root: &Authority,
    shown: &[&Pair],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.certificate.der().clone()).expect("a root");
    let versions = if versions.is_empty() {
        rustls::ALL_VERSIONS
    } else {
        versions
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    let config = match shown.first() {
        None => builder.with_no_client_auth(),
        Some(first) => {
            let chain = shown
                .iter()
                .map(|pair| pair.certificate.der().clone())
                .collect();
            let key = PrivateKeyDer::try_from(first.key.serialize_der()).expect("a key");
            builder
                .with_client_auth_cert(chain, key)
                .expect("they belong together")
        }
    };
    Arc::new(config)
}

/// Opens TLS, says AMQP's header and waits for the first byte of the answer; the server's certificate, or why there
/// was none.
pub(crate) fn handshake(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    host: &'static str,
) -> Result<Vec<u8>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let socket = TcpStream::connect(address).await.expect("it listens");
        let name = ServerName::try_from(host).expect("a name");
        let connecting = TlsConnector::from(config).connect(name, socket).await;
        let mut stream = connecting.map_err(|error| error.to_string())?;
        let said = async {
            stream.write_all(b"AMQP\0\0\x09\x01").await?;
            // TLS 1.3 tells the client that its certificate is refused only here.
            stream.read_u8().await
        };
        said.await.map_err(|error| error.to_string())?;
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().expect("a server has one");
        Ok(chain[0].to_vec())
    })
}

/// Where plain clients connect to be heard at `address` over TLS. Ends with the process.
pub(crate) fn tunnel(address: SocketAddr, config: Arc<ClientConfig>) -> SocketAddr {
    hand_on(move |mut plain| {
        let connector = TlsConnector::from(Arc::clone(&config));
        async move {
            let socket = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").expect("a name");
            let mut stream = connector.connect(name, socket).await?;
            copy_bidirectional(&mut plain, &mut stream).await.map(drop)
        }
    })
}

/// Where clients connect to be heard at `address` behind a proxy that sends this header. Ends with the process.
pub(crate) fn proxy(address: SocketAddr, header: &'static [u8]) -> SocketAddr {
    hand_on(move |mut client| async move {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(header).await?;
        copy_bidirectional(&mut client, &mut socket).await.map(drop)
    })
}

fn hand_on<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let (told, tell) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            told.send(listener.local_addr().expect("an address"))
                .expect("it waits");
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client));
            }
        });
    });
    tell.recv().expect("it listens")
}
