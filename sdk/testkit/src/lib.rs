//! sdk/testkit
