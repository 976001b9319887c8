//! Hosts: network namespaces that the test makes itself.
