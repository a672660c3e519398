//! Tests of the registry; see `containers`.
