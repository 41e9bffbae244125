//! Figures for Prometheus, at an address of the configuration: whoever can reach it can read them, so that it is one of the
//! machine's own in most cases.

use crate::ProgramError;
use ace_backend_tokio::Handle;
use ace_groupcomm::command::{Command, MAX_PAGE, Page, PageAfter, Report};
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::MetricKindMask;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often what there is is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// After which time a gauge that nobody sets goes.
const IDLE: Duration = Duration::from_secs(30);

/// Serves figures there, for the life of the process.
pub(crate) fn serve(address: SocketAddr) -> Result<(), ProgramError> {
    let failed = |error: &dyn std::fmt::Display| ProgramError::Other(format!("figures at {address}: {error}"));
    // What is set no more, e.g. of a group that was deleted, goes.
    let builder = PrometheusBuilder::new().idle_timeout(MetricKindMask::GAUGE, Some(IDLE));
    let (recorder, exporter) = builder.with_http_listener(address).build().map_err(|error| failed(&error))?;
    metrics::set_global_recorder(recorder).map_err(|error| failed(&error))?;
    tokio::spawn(async move {
        if let Err(error) = exporter.await {
            tracing::error!(?error, "figures are served no more");
        }
    });
    tracing::info!(%address, "figures are served");
    Ok(())
}

/// Keeps the figures of an engine up to date.
pub(crate) fn keep(handle: Handle) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            if let Ok(Report::Status(status)) = handle.command(Command::Status).await {
                metrics::gauge!("ace_ready").set(f64::from(u8::from(status.ready)));
                metrics::gauge!("ace_storage_works").set(f64::from(u8::from(status.storage)));
                for figure in status.figures {
                    let name = format!("ace_{}", figure.name);
                    if figure.name.ends_with("_total") {
                        metrics::counter!(name, &figure.labels).absolute(figure.value);
                    } else {
                        metrics::gauge!(name, &figure.labels).set(gauge(figure.value));
                    }
                }
            }
            groups(&handle).await;
        }
    })
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts of this size are exact")]
const fn gauge(value: u64) -> f64 {
    value as f64
}

/// Counts groups and members. Names of groups are the operator's.
async fn groups(handle: &Handle) {
    let (mut after, mut count) = (None, 0_u64);
    loop {
        let page = PageAfter { after, limit: MAX_PAGE };
        let Ok(Report::Groups(Page { entries, more })) = handle.command(Command::Groups(page)).await else { return };
        for group in entries {
            count = count.saturating_add(1);
            metrics::gauge!("ace_group_members", "group" => group.name.clone()).set(gauge(group.members));
            metrics::gauge!("ace_group_version", "group" => group.name.clone()).set(gauge(group.num));
            let due = group.rekey_due.map_or(0, |due| due.since.seconds());
            metrics::gauge!("ace_group_rekey_due_since", "group" => group.name).set(gauge(due));
        }
        match more {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    metrics::gauge!("ace_groups").set(gauge(count));
}
