//! What is said about the new model outside the report: a statement to be signed, and tags for a registry.

use super::Report;
use crate::audit::{Judgment, attacks};
use indexmap::IndexMap;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An in-toto Statement v1 (in-toto/attestation, spec/v1/statement.md) with the predicate test-result v0.1, unsigned.
///
/// Its subjects are the new model's files; its configuration lists what the run was made of, by digest: the model's files, the
/// data, the reference models (each by its file, without external data), and the settings that the report holds. It holds no time,
/// path or id, so that the same inputs, seed and build give the same bytes. Tests for which there are too few rows are among the
/// warned ones.
pub fn statement(report: &Report) -> Value {
    let proof = report.model.proof.as_ref();
    let described = |name: &str, sha256: &str| json!({ "name": name, "digest": { "sha256": sha256 } });
    let files = |files: Option<&Vec<crate::writeback::FileDigest>>| -> Vec<Value> {
        files.into_iter().flatten().map(|f| described(&f.name, &f.sha256)).collect()
    };
    let mut configuration = files(proof.map(|p| &p.input_files));
    configuration.extend(files(report.data.as_ref().map(|d| &d.files)));
    for model in report.audit.reference.iter().flat_map(|reference| &reference.models) {
        let name = model.path.file_name().unwrap_or_default().to_string_lossy();
        let (digest, role) = (json!({ "sha256": model.sha256 }), json!({ "role": "reference model" }));
        configuration.push(json!({ "name": name, "digest": digest, "annotations": role }));
    }
    let settings = settings(report);
    let digest: String = Sha256::digest(settings.to_string()).iter().map(|b| format!("{b:02x}")).collect();
    let of_run = json!({ "name": "settings", "digest": { "sha256": digest }, "annotations": settings });
    configuration.push(of_run);
    let version = report.environment.version;
    configuration.push(json!({ "name": "onnx-forget", "uri": format!("pkg:cargo/onnx-forget@{version}") }));
    let (mut passed, mut warned, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let integrity = &report.audit.integrity;
    for (name, held) in [
        ("parity before", integrity.parity_before),
        ("gradient", integrity.gradient),
        ("other bytes identical", integrity.other_bytes_identical),
        ("weights finite", integrity.weights_finite),
        ("parity after", integrity.parity_after),
    ] {
        if held == Some(true) { passed.push(name.to_owned()) } else { failed.push(name.to_owned()) }
    }
    for gate in &report.gates {
        match gate.outcome {
            Judgment::Pass => passed.push(gate.gate.to_string()),
            Judgment::Warn => warned.push(gate.gate.to_string()),
            Judgment::Insufficient => warned.push(format!("{}: too few rows", gate.gate)),
            Judgment::Fail => failed.push(gate.gate.to_string()),
        }
    }
    let result = match (failed.is_empty(), report.audit.verdict) {
        (false, _) | (_, Some(Judgment::Fail)) => "FAILED",
        (_, Some(Judgment::Pass)) => "PASSED",
        _ => "WARNED",
    };
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": files(proof.map(|p| &p.output_files)),
        "predicateType": "https://in-toto.io/attestation/test-result/v0.1",
        "predicate": {
            "result": result,
            "configuration": configuration,
            "passedTests": passed,
            "warnedTests": warned,
            "failedTests": failed,
        },
    })
}

/// The run in a few values, none of which depends on the machine but for the device that was asked for.
fn settings(report: &Report) -> Value {
    let limits: Vec<Value> = report.gates.iter().map(|g| json!({ "gate": g.gate, "at_most": g.limit })).collect();
    let unlearn = report.unlearn.as_ref();
    json!({
        "method": unlearn.map(|u| u.method),
        "seed": unlearn.map(|u| u.seed),
        "epochs": unlearn.map(|u| u.epochs),
        "batch_size": unlearn.map(|u| u.batch_size),
        "alpha0": unlearn.map(|u| u.alpha0),
        "learning_rate": unlearn.map(|u| u.learning_rate),
        "weight_decay": unlearn.map(|u| u.weight_decay),
        "step_size": unlearn.and_then(|u| u.step_size),
        "micro_batch": unlearn.and_then(|u| u.micro_batch),
        "further": unlearn.map(|u| &u.settings),
        "loss": report.model.loss,
        "parameters": report.model.parameters,
        "trainable_parameters": report.model.trainable_parameters,
        "device": unlearn.map(|u| &u.device),
        "kernels": report.environment.kernels,
        "rows_forgotten": report.data.as_ref().map(|d| d.forget_rows),
        "forget_ids_salted_sha256": report.data.as_ref().and_then(|d| d.forget_ids_sha256.clone()),
        "splits": report.audit.splits,
        "gates": limits,
    })
}

/// Flat tags for a model registry: short keys (at most 250 bytes), short values. Only `onnx_forget.report_sha256` differs
/// from run to run, since the report holds times.
pub fn tags(report: &Report, report_sha256: &str) -> IndexMap<String, String> {
    let mut tags = IndexMap::new();
    let mut tag = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            tags.insert(format!("onnx_forget.{key}"), value);
        }
    };
    let number = |x: Option<f64>| x.map(|x| format!("{x:.4}"));
    let verdict = report.audit.verdict.map(Judgment::word);
    tag("version", Some(report.environment.version.into()));
    tag("verdict", verdict.map(str::to_lowercase));
    let insufficient = report.gates.iter().filter(|g| g.outcome == Judgment::Insufficient).count();
    tag("checks_with_too_few_rows", Some(insufficient.to_string()));
    tag("method", report.unlearn.as_ref().map(|u| u.method.to_string()));
    tag("model_sha256", report.model.output.as_ref().map(|f| f.sha256.clone()));
    tag("parent_sha256", Some(report.model.checkpoint.as_ref().unwrap_or(&report.model.input).sha256.clone()));
    tag("report_sha256", Some(report_sha256.into()));
    if let Some(data) = &report.data {
        tag("rows_forgotten", Some(data.forget_rows.to_string()));
        tag("forget_ids_salted_sha256", data.forget_ids_sha256.clone());
    }
    for (when, audit) in [("before", &report.audit.before), ("after", &report.audit.after)] {
        let Some(audit) = audit else { continue };
        for (of, attack) in attacks(audit) {
            tag(&format!("mia_{of}_{when}"), number(attack.accuracy));
        }
        tag(&format!("forget_accuracy_{when}"), number(audit.forget.accuracy));
        tag(&format!("retain_accuracy_{when}"), number(audit.retain.accuracy));
        // As the gate has it: of the classes that are kept.
        tag(&format!("test_accuracy_{when}"), number(audit.useful().accuracy));
    }
    tags
}
