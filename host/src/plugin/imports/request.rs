//! Imports with which a gatekeeper reads the request that it decides about.

use std::sync::Arc;

use wasmtime::Result;

use super::super::bindings::bennu::channel::request::{self, Address, Location};
use super::super::guest::{Guest, Subject};
use crate::contract::{Fault, Request};

impl Guest {
    fn request(&self) -> Result<&Arc<Request>> {
        match &self.subject {
            Subject::Request(request) => Ok(request),
            _ => Err(Fault::no_request().into()),
        }
    }
}

impl request::Host for Guest {
    fn mount(&mut self) -> Result<String> {
        Ok(self.request()?.mount.to_string())
    }

    fn transport(&mut self) -> Result<String> {
        Ok(self.request()?.transport.to_owned())
    }

    fn params(&mut self) -> Result<String> {
        Ok(self.request()?.params.to_string())
    }

    fn headers(&mut self) -> Result<Vec<(String, String)>> {
        let headers = self.request()?.headers.iter();
        Ok(headers.map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    fn peer(&mut self) -> Result<Address> {
        let peer = self.request()?.peer;
        Ok(Address { ip: peer.ip().to_canonical().to_string(), port: peer.port() })
    }

    fn uri(&mut self) -> Result<Location> {
        let uri = &self.request()?.uri;
        Ok(Location {
            scheme: uri.scheme.to_string(),
            host: uri.host.to_string(),
            port: uri.port,
            path: uri.path.to_string(),
            query: uri.query.to_string(),
        })
    }

    fn auth_token(&mut self) -> Result<Option<String>> {
        Ok(self.request()?.auth_token.as_deref().map(str::to_owned))
    }
}
