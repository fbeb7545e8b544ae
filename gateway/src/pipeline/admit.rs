//! The first half of a delivery: find its route, receive and check it, and claim its event.
//! The gate runs these steps and repeats them if a reload replaces the route meanwhile.

use std::mem;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use hookgate_core::{Head, Verified};
use hookgate_gate::{
    AcceptedHead, Admission, CheckedRequest, InboundRequest, Mode, Reason, Refusal, Source,
};

use crate::config::CaptureScope;
use crate::gateway::Gateway;
use crate::pipeline::access_record::{AccessRecord, MeasuredBody};
use crate::pipeline::downstream::Downstream;
use crate::pipeline::route::Route;
use crate::poll::time_blocked;
use crate::run::store::Store;
use crate::tenants::Lookup;

/// The decision about a request, and the route that decided it.
pub(crate) struct Admitted {
    pub(crate) route: Arc<Route>,
    pub(crate) admission: Result<Admission<Store>, Refusal>,
}

impl Gateway {
    /// Checks a delivery and claims its event. Nothing is sent to an upstream before that.
    ///
    /// Returns `None` if no source has the path and host of the request.
    pub(crate) async fn admit(
        &self,
        downstream: &mut Downstream<'_>,
        record: &mut AccessRecord<'_>,
    ) -> Option<Admitted> {
        let mut request = GatewayRequest {
            gateway: self,
            downstream,
            record,
            blocked: Duration::ZERO,
        };
        let mut route = match request.route()? {
            Routed::To(route) => route,
            Routed::Tenant(tenant) => match Box::pin(tenant.look_up()).await {
                (route, None) => route,
                (VersionedRoute { route, .. }, Some(refusal)) => {
                    request.record.routed(&route);
                    return Some(Admitted {
                        route,
                        admission: Err(refusal),
                    });
                }
            },
        };
        if route.route.shared.capture != CaptureScope::None {
            request.start_capture(&route.route);
        }
        let admission = pin!(self.gate().admit_current(&mut route, &mut request)).await;
        match admission {
            // A reload removed the route, or the tenant has just been removed.
            Err(refusal)
                if refusal.reason() == Reason::SourceUnknown
                    && route.route.source.tenant().is_none() =>
            {
                None
            }
            admission => Some(Admitted {
                route: route.route,
                admission,
            }),
        }
    }
}

/// A request of one sender, with the record of its times.
struct GatewayRequest<'r, 's, 'g> {
    gateway: &'r Gateway,
    downstream: &'r mut Downstream<'s>,
    record: &'r mut AccessRecord<'g>,
    /// The time during which the current check waited for the sender.
    blocked: Duration,
}

/// A route, and the version of the configuration that it belongs to.
struct VersionedRoute {
    route: Arc<Route>,
    version: u64,
}

/// The result of finding the route of a request.
enum Routed {
    To(VersionedRoute),
    /// The keys of the tenant are not known yet.
    Tenant(UnknownTenant),
}

/// A tenant whose keys are not known yet.
struct UnknownTenant {
    /// The route of the source.
    template: Arc<Route>,
    name: Box<str>,
    client: Option<IpAddr>,
    version: u64,
    /// The result, if a lookup has just failed.
    earlier: Option<Lookup>,
}

impl UnknownTenant {
    /// Looks up the keys. Returns the route of the tenant, and the refusal if it has no keys.
    async fn look_up(self) -> (VersionedRoute, Option<Refusal>) {
        let Self {
            template,
            name,
            client,
            version,
            earlier,
        } = self;
        let found = match (earlier, &template.shared.tenants) {
            (Some(found), _) => found,
            (None, Some(tenants)) => tenants.look_up(&template.source, &name, client).await,
            (None, None) => Lookup::Unknown,
        };
        let reason = match found {
            Lookup::Found(tenant) => {
                let route = Arc::new(template.for_tenant(tenant));
                return (VersionedRoute { route, version }, None);
            }
            Lookup::Unknown => Some(Reason::SourceUnknown),
            // A source that only observes forwards deliveries that cannot be verified.
            Lookup::Unavailable if template.source.mode() == Mode::Observe => None,
            Lookup::Unavailable => Some(Reason::SourceUnavailable),
        };
        let route = Arc::new(template.for_tenant_without_keys(&name));
        (VersionedRoute { route, version }, reason.map(Refusal::from))
    }
}

impl GatewayRequest<'_, '_, '_> {
    /// Finds the route of the request in the current configuration.
    fn route(&self) -> Option<Routed> {
        let running = self.gateway.running();
        let (route, tenant) = running.routes.find(self.downstream.request())?;
        let version = running.version;
        let (Some(name), Some(tenants)) = (tenant, &route.shared.tenants) else {
            let route = Arc::clone(route);
            return Some(Routed::To(VersionedRoute { route, version }));
        };
        Some(match tenants.cached(name) {
            Some(Lookup::Found(tenant)) => {
                let route = Arc::new(route.for_tenant(tenant));
                Routed::To(VersionedRoute { route, version })
            }
            earlier => Routed::Tenant(UnknownTenant {
                template: Arc::clone(route),
                name: name.into(),
                client: self.client(),
                version,
                earlier,
            }),
        })
    }

    /// Starts the capture of the request.
    #[cold]
    fn start_capture(&mut self, route: &Route) {
        if let Some(inspector) = self.gateway.inspector() {
            let limit = route.source.body_limit().get();
            self.downstream
                .start_capture(inspector.start_capture(limit));
        }
    }
}

impl InboundRequest for GatewayRequest<'_, '_, '_> {
    type Route = VersionedRoute;

    fn head(&self) -> Head<'_> {
        let request = self.downstream.request();
        Head::new(&request.method, &request.uri, &request.headers)
    }

    fn declared_len(&self) -> Option<u64> {
        self.downstream.declared_len()
    }

    async fn receive<'s>(&mut self, head: AcceptedHead<'s>) -> Result<CheckedRequest<'s>, Refusal> {
        let blocked = &mut self.blocked;
        let sent = time_blocked(pin!(self.downstream.send_continue()), blocked).await;
        if let Err(error) = sent {
            tracing::debug!(
                request_id = self.record.id,
                error = %ErrorChain(&error),
                "cannot send 100 Continue to the sender"
            );
            return Err(Reason::BodyIncomplete.into());
        }
        let budget = self.gateway.limits().unverified_bodies;
        let bodies = self.gateway.unverified_bodies();
        let body = bodies.track(self.downstream, budget);
        let received = self.record.received_bytes();
        let mut body = MeasuredBody {
            body,
            blocked,
            received,
        };
        head.receive(&mut body).await
    }

    fn client(&self) -> Option<IpAddr> {
        self.downstream.address()?.ip()
    }

    fn is_current(&self, route: &VersionedRoute) -> bool {
        self.gateway.running().version == route.version && route.route.has_current_keys()
    }

    async fn find_route(&mut self) -> Result<VersionedRoute, Refusal> {
        match self.route() {
            None => Err(Reason::SourceUnknown.into()),
            Some(Routed::To(route)) => Ok(route),
            Some(Routed::Tenant(tenant)) => match Box::pin(tenant.look_up()).await {
                (route, None) => Ok(route),
                (_, Some(refusal)) => Err(refusal),
            },
        }
    }

    fn on_routed(&mut self, route: &VersionedRoute) {
        self.record.routed(&route.route);
        if let Some(capture) = self.downstream.capture_mut() {
            capture.unverified();
        }
    }

    fn on_checked(&mut self) {
        self.record.checked(mem::take(&mut self.blocked));
    }

    fn on_verified(&mut self, route: &VersionedRoute, verified: &Verified) {
        self.record.verified(&route.route, verified);
        if let Some(capture) = self.downstream.capture_mut() {
            capture.verified(verified.clone());
        }
    }

    fn on_admitted(&mut self) {
        self.record.claimed();
    }
}

impl AsRef<Source> for VersionedRoute {
    fn as_ref(&self) -> &Source {
        &self.route.source
    }
}
