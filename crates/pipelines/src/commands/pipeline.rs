//! Definitions of pipelines: stored, changed, started and stopped.
//!
//! Owns: the `PIPELINES` space of the control store.
//! Does not own: running them (publish).

use std::collections::BTreeMap;
use std::sync::Arc;

use base::TaskKind;
use bytes::Bytes;
use queries::mode::IcebergTopic;
use storage::layout::PIPELINES;
use topics::AtomicAppend;

use crate::commands::CommandError;
use crate::duties::{Duties, PipelineDuty};
use crate::publish::cycles::{Edges, cycle_through};
use crate::publish::definition::Definition;
use crate::publish::inputs::ident_of;
use crate::publish::progress::RunProgress;
use crate::publish::{PipelineLink, Publisher, writer};
use crate::spec::{PipelineSpec, SpecError};

pub(crate) fn list(duties: &Duties) -> Result<Vec<(String, PipelineSpec)>, CommandError> {
    Ok(duties.deps.control.scan_json(PIPELINES, "")?)
}

/// Stores a definition and runs it from now on.
pub(crate) async fn put(duties: &Arc<Duties>, name: &str, spec: PipelineSpec) -> Result<(), CommandError> {
    let _changes = duties.pipeline_changes.lock().await;
    let definition = Definition::of(name, spec.clone(), &duties.settings)?;
    let stored = list(duties)?;
    if stored.len() >= duties.settings.pipelines_max && stored.iter().all(|(other, _)| other != name) {
        return Err(CommandError::Invalid(format!(
            "there are {} pipelines already, which is the limit: delete one first",
            stored.len()
        )));
    }
    refuse_cycle(duties, name, &definition, &stored)?;
    check_target(duties, name, &definition)?;
    let (control, key) = (duties.deps.control.clone(), name.to_owned());
    duties.blocking(move || control.transact(|tx| tx.put_json(PIPELINES, &key, &spec))).await?;
    stop(duties, name).await;
    start(duties, name, definition);
    Ok(())
}

/// Deletes a definition and forgets its progress: declared again it begins anew.
pub(crate) async fn delete(duties: &Arc<Duties>, name: &str) -> Result<(), CommandError> {
    let _changes = duties.pipeline_changes.lock().await;
    if duties.deps.control.get(PIPELINES, name)?.is_none() {
        return Err(CommandError::NotFound(format!("there is no pipeline {name}")));
    }
    stop(duties, name).await;
    let (control, key) = (duties.deps.control.clone(), name.to_owned());
    duties.blocking(move || control.transact(|tx| tx.delete(PIPELINES, &key).map(drop))).await?;
    let writer = writer(name);
    let claimed = duties.deps.topics.claim_writer(&writer).await?;
    let forgotten =
        serde_json::to_vec(&RunProgress::default()).map_err(|e| CommandError::Internal(e.to_string()))?;
    let append =
        AtomicAppend { writer, epoch: claimed.epoch, batches: Vec::new(), progress: Bytes::from(forgotten) };
    duties.deps.topics.append_atomically(append).await?;
    Ok(())
}

/// Starts every stored pipeline. One that cannot be understood any more is reported and left out.
pub(crate) fn start_all(duties: &Arc<Duties>) -> Result<(), CommandError> {
    for (name, spec) in list(duties)? {
        match Definition::of(&name, spec, &duties.settings) {
            Ok(definition) => start(duties, &name, definition),
            Err(error) => {
                tracing::error!(pipeline = %name, %error, "the pipeline is not started");
                let link = PipelineLink::default();
                {
                    let mut view = link.view.lock();
                    view.state = "paused";
                    view.message = Some(error.to_string());
                }
                duties.pipelines.lock().insert(name, PipelineDuty { task: None, link: Arc::new(link) });
            }
        }
    }
    Ok(())
}

fn start(duties: &Arc<Duties>, name: &str, definition: Definition) {
    let link = Arc::new(PipelineLink::default());
    link.view.lock().state = "idle";
    let (shared, own, task_link) = (Arc::clone(duties), name.to_owned(), Arc::clone(&link));
    let task = duties.deps.supervisor.on(duties.deps.compute.clone()).spawn(
        TaskKind::Publish,
        format!("pipeline {name}"),
        move |shutdown| Publisher::new(shared, own, definition, task_link, shutdown).run(),
    );
    duties.pipelines.lock().insert(name.to_owned(), PipelineDuty { task: Some(task), link });
}

async fn stop(duties: &Duties, name: &str) {
    let duty = duties.pipelines.lock().remove(name);
    if let Some(task) = duty.and_then(|duty| duty.task) {
        task.stop().await;
    }
}

fn refuse_cycle(
    duties: &Duties,
    name: &str,
    definition: &Definition,
    stored: &[(String, PipelineSpec)],
) -> Result<(), SpecError> {
    let edges = |definition: &Definition| {
        let show = |ident: tables::TableIdent| format!("{}.{}", ident.namespace.join("."), ident.name);
        let all = definition.reads.iter().chain(&definition.watches);
        Edges {
            reads: all.map(|relation| show(ident_of(duties, relation))).collect(),
            writes: show(table_of(duties, &definition.spec.into.topic)),
        }
    };
    let mut graph: BTreeMap<String, Edges> = stored
        .iter()
        .filter_map(|(other, spec)| {
            let definition = Definition::of(other, spec.clone(), &duties.settings).ok()?;
            Some((other.clone(), edges(&definition)))
        })
        .collect();
    graph.insert(name.to_owned(), edges(definition));
    match cycle_through(name, &graph) {
        None => Ok(()),
        Some(path) => Err(SpecError {
            pipeline: name.to_owned(),
            field: "into.topic".into(),
            reason: format!("the pipeline would feed itself: {path}; publish into another topic"),
        }),
    }
}

/// The table of a topic; of one that is none, or not there yet, the one of its name.
fn table_of(duties: &Duties, topic: &str) -> tables::TableIdent {
    let tables = &duties.deps.tables;
    let settings = duties.deps.topics.topic(topic).and_then(|info| IcebergTopic::of(&info).ok().flatten());
    settings.map_or_else(|| tables.ident(topic), |settings| settings.table(tables))
}

/// What can be known of the target before the first run.
fn check_target(duties: &Duties, name: &str, definition: &Definition) -> Result<(), SpecError> {
    let into = &definition.spec.into;
    if duties.deps.topics.topic(&into.topic).is_some() {
        return Ok(());
    }
    let new = topics::NewTopic {
        name: into.topic.clone(),
        partitions: into.partitions,
        config: into.config.clone(),
    };
    super::topic::validate(duties, &new).map_err(|error| SpecError {
        pipeline: name.to_owned(),
        field: "into".into(),
        reason: error.to_string(),
    })
}
