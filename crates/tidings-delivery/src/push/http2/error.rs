//! Why a request has no answer.

use std::{io, sync::Arc};

/// Why no connection could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the host cannot be reached")]
    Tcp(#[source] io::Error),
    #[error("the tls handshake failed")]
    Tls(#[source] io::Error),
    #[error("the host does not speak http/2")]
    NotHttp2,
    #[error("the http/2 handshake failed")]
    Handshake(#[source] h2::Error),
    #[error("the host did not answer in time")]
    TimedOut,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Http2Error {
    /// There is no connection.
    // Shared: many requests wait for one attempt to connect.
    #[error("no connection could be made")]
    Connect(#[source] Arc<ConnectError>),
    /// More requests wait for a connection than is sane.
    #[error("too many requests wait for a connection")]
    TooManyWaiting,
    /// The time was up before the request was sent.
    #[error("the request could not be sent in time")]
    NotSentInTime,
    /// The server refused to process it, on a connection that has answered nothing so far.
    #[error("the server did not take the request")]
    NotTaken(#[source] h2::Error),
    /// The server refused to process it: it has too many streams.
    #[error("the server has no room for the request")]
    Refused(#[source] h2::Error),
    /// A connection that had been answering was ending when the request came.
    #[error("the connection was ending, and did not take the request")]
    Ended(#[source] h2::Error),
    /// There are connections, and no answer has come on any of them for as long as the request waited.
    #[error("the server answers nothing")]
    Silent,
    /// The connection ended before the request was sent.
    #[error("the connection ended before the request was sent")]
    Closed,
    /// The request was sent and not answered in time.
    #[error("the request was not answered in time")]
    NotAnsweredInTime,
    /// The connection or the stream broke when the request was sent: nobody knows.
    #[error("the connection broke before the answer came")]
    Lost(#[source] h2::Error),
    /// The same of a connection that had been answering: nobody knows of this request, and it says
    /// little of the next.
    #[error("a connection that worked broke before the answer came")]
    Cut(#[source] h2::Error),
}

impl Http2Error {
    /// What became of a request that had been handed to the connection.
    pub(super) fn of_sent(error: h2::Error) -> Self {
        // The library ends a stream with the peer's GOAWAY only if its number is above the last one
        // that the peer will process (RFC 9113, section 6.8); with REFUSED_STREAM the peer says the
        // same of this one (section 8.7).
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        if error.is_remote() && (refused || error.is_go_away()) {
            Self::NotTaken(error)
        } else {
            Self::Lost(error)
        }
    }

    /// The same error of a connection that has been answering.
    pub(super) fn of_working_connection(self) -> Self {
        match self {
            Self::Lost(source) if !source.is_reset() => Self::Cut(source),
            Self::NotTaken(source) if source.is_reset() => Self::Refused(source),
            Self::NotTaken(source) => Self::Ended(source),
            error => error,
        }
    }

    /// Whether the server has provably not processed the request.
    pub(crate) fn is_unprocessed(&self) -> bool {
        !matches!(self, Self::NotAnsweredInTime | Self::Lost(_) | Self::Cut(_))
    }

    /// Whether it is an accident of one connection, and others may fare well.
    pub(crate) fn is_accident(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::Ended(_))
    }

    /// Whether the server is there, and takes no more than it has.
    pub(crate) fn is_for_want_of_a_stream(&self) -> bool {
        matches!(self, Self::NotSentInTime | Self::TooManyWaiting | Self::Refused(_))
    }

    /// Whether it is the connection that is at fault, and not one stream or one slow answer.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::NotTaken(source) | Self::Lost(source) => !source.is_reset(),
            Self::Cut(_) | Self::Ended(_) | Self::Closed => true,
            Self::Connect(_)
            | Self::Refused(_)
            | Self::Silent
            | Self::TooManyWaiting
            | Self::NotSentInTime
            | Self::NotAnsweredInTime => false,
        }
    }

    /// The word for it in the delivery log.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "no_connection",
            Self::TooManyWaiting => "too_many_waiting",
            Self::NotSentInTime => "not_sent_in_time",
            Self::NotTaken(_) | Self::Refused(_) | Self::Ended(_) | Self::Closed => "not_taken",
            Self::Silent => "nothing_answered",
            Self::NotAnsweredInTime => "not_answered_in_time",
            Self::Lost(_) | Self::Cut(_) => "connection_lost",
        }
    }
}
