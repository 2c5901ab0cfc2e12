//! A client of the Tidings HTTP and WebSocket API.
