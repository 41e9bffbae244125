//! What a KDC of one's own puts beside, or in the place of, what `ace-kdc` has.

use ace_backend_tokio::{NoServices, Services};
use ace_coap::security::MessageSecurity;
use ace_groupcomm::token::CwtValidator;
use ace_groupcomm::traits::token::TokenValidator;
use ace_groupcomm::traits::transport::Associations;
use std::sync::Arc;

/// Makes the validator of a KDC from that of the configured issuers.
type Validate = dyn Fn(CwtValidator) -> Box<dyn TokenValidator> + Send + Sync;

/// The parts of a KDC that are not those of `ace-kdc`. Profiles are none of them: they register where they are linked.
///
/// ```no_run
/// use ace_backend_tokio::Services;
/// use ace_groupcomm::engine::{Answered, Question};
/// use ace_groupcomm::token::CwtValidator;
/// use ace_kdc::Parts;
/// use std::sync::Arc;
///
/// /// Asks an Authorization Server for the claims of a token.
/// struct Introspection;
///
/// #[async_trait::async_trait]
/// impl Services for Introspection {
///     async fn ask(&self, _question: &Question) -> Answered {
///         Answered::Failed
///     }
/// }
///
/// fn main() -> std::process::ExitCode {
///     // A validator of one's own may hold the one of the configured issuers, and leave to it what it does not know.
///     let parts = Parts::default()
///         .with_validator(|configured: CwtValidator| Box::new(configured))
///         .with_services(Arc::new(Introspection));
///     ace_kdc::main_with(parts)
/// }
/// ```
#[derive(Clone)]
pub struct Parts {
    pub(crate) validate: Arc<Validate>,
    pub(crate) services: Arc<dyn Services>,
    pub(crate) transports: Vec<(Arc<dyn MessageSecurity>, Arc<dyn Associations>)>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl Default for Parts {
    /// `ace-kdc` as it is: tokens of the configured issuers, no services outside, OSCORE alone.
    fn default() -> Self {
        Self {
            validate: Arc::new(|configured| Box::new(configured)),
            services: Arc::new(NoServices),
            transports: Vec::new(),
        }
    }
}

impl Parts {
    /// Validates tokens with what this makes of the validator of the configured issuers. A validator that holds that one hands its
    /// `trust` and `leeway` on: where issuers are configured, one without `trust` is refused at the start.
    #[must_use]
    pub fn with_validator(
        mut self,
        make: impl Fn(CwtValidator) -> Box<dyn TokenValidator> + Send + Sync + 'static,
    ) -> Self {
        self.validate = Arc::new(make);
        self
    }

    /// Asks these services what the validator wants to know of them.
    #[must_use]
    pub fn with_services(mut self, services: Arc<dyn Services>) -> Self {
        self.services = services;
        self
    }

    /// Serves this transport too, which sees each message before those that were added later, and before OSCORE. Its
    /// `TransportProfile` is registered where it is linked.
    #[must_use]
    pub fn with_transport(mut self, security: Arc<dyn MessageSecurity>, associations: Arc<dyn Associations>) -> Self {
        self.transports.push((security, associations));
        self
    }
}
