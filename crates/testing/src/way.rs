//! The way to a provider: how its address is reached, or why it is not.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::{
    Fault, Match, Reply, Script,
    tls::{Certificate, Tls},
};

/// How clients reach a provider's socket.
#[derive(Debug)]
pub(crate) enum Way {
    /// Without TLS.
    Plain,
    /// With TLS.
    Tls(Tls),
    /// With TLS, which is reset at its first bytes.
    HandshakeReset,
    /// As if with TLS: what comes is not expected to be HTTP.
    Plaintext,
}

/// What holds a provider's port.
pub(crate) enum Port {
    /// Connections are accepted.
    Open(TcpListener),
    /// Connections are refused; the port is held, so that nobody else listens there.
    Refusing(TcpSocket),
    /// Connections do not come about: the queue of those that wait is full.
    Full {
        listener: TcpListener,
        _waiting: TcpStream,
    },
}

// ===== impl Way =====

impl Way {
    pub(crate) fn new(fault: Option<Fault>, tls: bool) -> io::Result<Self> {
        let certificate = match fault {
            Some(Fault::UnknownIssuer) => Certificate::UnknownIssuer,
            Some(Fault::WrongHost) => Certificate::WrongHost,
            Some(Fault::Expired) => Certificate::Expired,
            Some(Fault::HandshakeReset) => return Ok(Way::HandshakeReset),
            Some(Fault::Plaintext) => return Ok(Way::Plaintext),
            _ if tls => Certificate::Good,
            _ => return Ok(Way::Plain),
        };
        Ok(Way::Tls(Tls::new(certificate)?))
    }

    pub(crate) fn scheme(&self) -> &'static str {
        match self {
            Way::Plain => "http",
            Way::Tls(_) | Way::HandshakeReset | Way::Plaintext => "https",
        }
    }
}

// ===== impl Port =====

impl Port {
    pub(crate) async fn open(address: SocketAddr, fault: Option<Fault>) -> io::Result<Self> {
        let socket = || match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        match fault {
            Some(Fault::ConnectRefused) => {
                // Bound, and not listening: the system refuses for us.
                let socket = socket()?;
                socket.bind(address)?;
                Ok(Port::Refusing(socket))
            }
            Some(Fault::ConnectTimeout) => {
                // A queue of none holds one connection; with that in it, the system answers no more
                // (on Linux: elsewhere a queue may be longer than was asked).
                let socket = socket()?;
                socket.bind(address)?;
                let listener = socket.listen(0)?;
                let _waiting = TcpStream::connect(listener.local_addr()?).await?;
                Ok(Port::Full { listener, _waiting })
            }
            _ => Ok(Port::Open(TcpListener::bind(address).await?)),
        }
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Port::Open(listener) | Port::Full { listener, .. } => listener.local_addr(),
            Port::Refusing(socket) => socket.local_addr(),
        }
    }
}

/// The fault of the way to the provider, if its scripts name one. An `Err` says why there is none
/// such way.
pub(crate) fn fault(scripts: &[(Match, Script)]) -> Result<Option<Fault>, String> {
    let faults = || {
        let replies = scripts.iter().flat_map(|(_, script)| script.replies());
        replies.map(Reply::faulty)
    };
    let Some(fault) = faults().flatten().find(Fault::is_of_connection) else {
        return Ok(None);
    };
    if !fault.carried_by(crate::Carrier::Socket) {
        return Err(format!("{fault} is for the in-process service alone"));
    }
    match faults().all(|other| other == Some(fault)) {
        true => Ok(Some(fault)),
        false => Err(format!(
            "{fault} is of the way to the provider: its scripts can have nothing else"
        )),
    }
}
