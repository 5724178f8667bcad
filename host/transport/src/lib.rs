//! host/transport
