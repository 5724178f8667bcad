//! sdk/build
