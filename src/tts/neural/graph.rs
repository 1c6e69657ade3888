//! A graph from a file, cut at values inside of it.

use super::files::Unreadable;
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView};
use rten_onnx::onnx::{
    DataType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use rten_tensor::TensorView;
use rten_tensor::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// A graph that cannot be loaded, cut or run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GraphError(String);

impl GraphError {
    pub(super) fn kind(inputs: &[String]) -> GraphError {
        GraphError(format!(
            "it is no voice of a known kind: its inputs are `{}`, those of hibari are `ids, speed`, and those of Piper \
             `input, input_lengths, scales`",
            inputs.join(", ")
        ))
    }

    pub(super) fn settings(why: Unreadable) -> GraphError {
        GraphError(match why {
            Unreadable::Missing => {
                "the .onnx.json of a Piper voice has to lie beside it, with its sample rate and symbols"
                    .to_owned()
            }
            Unreadable::Other(why) => format!("its .onnx.json cannot be read: {why}"),
        })
    }

    pub(super) fn setting(why: &str) -> GraphError {
        GraphError(format!("its .onnx.json {why}"))
    }

    pub(super) fn long(what: &str, seconds: f32, most: usize) -> GraphError {
        GraphError(format!("it plans {what} of {seconds:.0} s (limit {most} s)"))
    }

    pub(super) fn silent() -> GraphError {
        GraphError("it gives no sound".to_owned())
    }

    pub(super) fn shape(what: &str) -> GraphError {
        GraphError(format!("its {what} have an unexpected number of values"))
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The thread on which graphs run: one, so that a sum has the same order each time.
#[derive(Clone)]
pub(super) struct Threads(Arc<ThreadPool>);

impl Threads {
    /// Returns the thread for graphs that belongs to the calling thread.
    pub(super) fn own() -> Threads {
        thread_local! {
            static OWN: RefCell<Option<Threads>> = const { RefCell::new(None) };
        }
        OWN.with_borrow_mut(|own| {
            own.get_or_insert_with(|| Threads(Arc::new(ThreadPool::with_num_threads(1)))).clone()
        })
    }
}

/// A graph as it is in its file.
pub(super) struct Graph {
    graph: GraphProto,
    version: Option<i64>,
    operators: Vec<OperatorSetIdProto>,
}

impl Graph {
    /// Reads a graph, and checks what the library does not check before it runs one.
    pub(super) fn read(bytes: &[u8]) -> Result<Graph, GraphError> {
        let none = |why: &str| GraphError(format!("it is no ONNX graph ({why})"));
        let model = ModelProto::parse_buf(bytes).map_err(|why| none(&why.to_string()))?;
        let graph = model.graph.ok_or_else(|| none("it has no nodes"))?;
        graph.node.iter().try_for_each(check)?;
        for weight in &graph.initializer {
            let name = weight.name.as_deref().unwrap_or_default();
            are_small(wholes(weight).into_iter())
                .map_err(|why| GraphError(format!("its weight `{name}` {why}")))?;
        }
        Ok(Graph { graph, version: model.ir_version, operators: model.opset_import })
    }

    /// Names of the inputs.
    pub(super) fn inputs(&self) -> Vec<String> {
        self.graph.input.iter().map(|input| input.name.clone().unwrap_or_default()).collect()
    }

    /// Cuts out the part from these values to those, with only the nodes and the weights that it needs.
    ///
    /// Each part is a graph of its own: rten keeps one plan of execution for each.
    pub(super) fn cut(&self, inputs: &[&str], outputs: &[&str]) -> Result<Cut, GraphError> {
        let graph = &self.graph;
        let sources = graph.node.iter().enumerate();
        let sources: HashMap<&str, usize> =
            sources.flat_map(|(at, node)| node.output.iter().map(move |value| (&**value, at))).collect();
        let (mut seen, mut nodes) = (HashSet::new(), BTreeSet::new());
        let mut open = outputs.to_vec();
        while let Some(value) = open.pop() {
            if seen.insert(value)
                && !inputs.contains(&value)
                && let Some(&at) = sources.get(value)
                && nodes.insert(at)
            {
                open.extend(graph.node[at].input.iter().map(String::as_str));
            }
        }
        let is_seen = |name: &Option<String>| name.as_deref().is_some_and(|name| seen.contains(name));
        // Shapes of values that are in the part are kept: the library plans by them.
        let known: Vec<&ValueInfoProto> = graph.input.iter().chain(&graph.value_info).collect();
        let info = |name: &&str| {
            let known = known.iter().find(|info| info.name.as_deref() == Some(name));
            let named = || ValueInfoProto { name: Some((*name).to_owned()), ..Default::default() };
            known.map_or_else(named, |info| (*info).clone())
        };
        let part = GraphProto {
            node: nodes.into_iter().map(|at| graph.node[at].clone()).collect(),
            initializer: graph.initializer.iter().filter(|weight| is_seen(&weight.name)).cloned().collect(),
            input: inputs.iter().map(info).collect(),
            output: outputs.iter().map(info).collect(),
            value_info: graph.value_info.iter().filter(|info| is_seen(&info.name)).cloned().collect(),
        };
        let part = ModelProto {
            ir_version: self.version,
            graph: Some(part),
            opset_import: self.operators.clone(),
            ..ModelProto::default()
        };
        let bad = |why: &dyn fmt::Display| GraphError(why.to_string());
        let bytes = part.write_buf().map_err(|why| bad(&why))?;
        drop(part);
        let mut options = ModelOptions::with_all_ops();
        options.prepack_weights(true);
        let model = options.load(bytes).map_err(|why| bad(&why))?;
        let find = |names: &[&str]| {
            let ids = names.iter().map(|name| {
                let is_there = sources.contains_key(name) || inputs.contains(name);
                let id = model.find_node(name).filter(|_| is_there);
                id.ok_or_else(|| GraphError(format!("it has no value `{name}`")))
            });
            ids.collect::<Result<Vec<NodeId>, GraphError>>()
        };
        Ok(Cut { inputs: find(inputs)?, outputs: find(outputs)?, model })
    }
}

/// Largest whole number in a graph: shapes are made of them. Those of voices are below 1,000.
const MAX_WHOLE: u64 = 4_096;

/// Checks what the library takes for granted in a node: it panics otherwise, or takes all memory.
fn check(node: &NodeProto) -> Result<(), GraphError> {
    let is = |name: &Option<String>, expected: &str| name.as_deref() == Some(expected);
    let bad = |why: String| {
        let name = node.name.as_deref().unwrap_or_default();
        GraphError(format!("its node `{name}` {why}"))
    };
    for attribute in &node.attribute {
        let mut order = attribute.ints.clone();
        order.sort_unstable();
        if is(&node.op_type, "Transpose")
            && is(&attribute.name, "perm")
            && !order.into_iter().eq(0..attribute.ints.len() as i64)
        {
            return Err(bad(format!("puts dimensions into the order {:?}, which is none", attribute.ints)));
        }
        let whole = attribute.t.as_ref().map(wholes).unwrap_or_default();
        are_small(whole.into_iter().chain(attribute.ints.iter().copied()).chain(attribute.i)).map_err(bad)?;
    }
    Ok(())
}

/// Most bytes of a weight that is a shape. Larger ones are tables.
const MAX_SHAPE_BYTES: usize = 256;

/// Whole numbers of a weight that can be a shape.
fn wholes(weight: &TensorProto) -> Vec<i64> {
    let raw = weight.raw_data.as_ref().map(RefCell::borrow);
    let raw = raw.as_ref().map(|raw| &raw[..]).filter(|raw| raw.len() <= MAX_SHAPE_BYTES).unwrap_or_default();
    let mut wholes = weight.int64_data.clone();
    match weight.data_type {
        Some(DataType::INT64) => {
            wholes.extend(raw.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)));
        }
        Some(DataType::INT32) => {
            wholes.extend(weight.int32_data.iter().copied().map(i64::from));
            wholes.extend(raw.as_chunks().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))));
        }
        _ => {}
    }
    wholes
}

/// Checks that whole numbers are small, but for those that stand for the end of a dimension.
fn are_small(mut wholes: impl Iterator<Item = i64>) -> Result<(), String> {
    let is_end = |whole: i64| whole <= -i64::MAX || whole == i64::MAX || whole == i64::from(i32::MAX);
    match wholes.find(|&whole| whole.unsigned_abs() > MAX_WHOLE && !is_end(whole)) {
        None => Ok(()),
        Some(whole) => Err(format!("has the number {whole} (limit {MAX_WHOLE})")),
    }
}

/// A part of a graph.
pub(super) struct Cut {
    model: Model,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
}

/// An input: its shape and its values.
pub(super) enum Input<'a> {
    Whole(&'a [usize], &'a [i32]),
    Real(&'a [usize], &'a [f32]),
}

impl Cut {
    /// Runs this part, and returns the values of each output.
    pub(super) fn run(&self, inputs: &[Input<'_>], threads: &Threads) -> Result<Vec<Vec<f32>>, GraphError> {
        let inputs = self.inputs.iter().zip(inputs).map(|(&id, input)| {
            let value: ValueOrView<'_> = match input {
                Input::Whole(shape, values) => TensorView::from_data(*shape, *values).into(),
                Input::Real(shape, values) => TensorView::from_data(*shape, *values).into(),
            };
            (id, value)
        });
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&threads.0)));
        let outputs = self.model.run(inputs.collect(), &self.outputs, Some(options));
        let outputs = outputs.map_err(|why| GraphError(why.to_string()))?;
        outputs.into_iter().map(reals).collect()
    }
}

/// Values of an output.
fn reals(value: Value) -> Result<Vec<f32>, GraphError> {
    match value {
        Value::FloatTensor(values) => Ok(values.into_data()),
        Value::Int32Tensor(values) => Ok(values.iter().map(|&value| value as f32).collect()),
        _ => Err(GraphError("an output has an unexpected type".to_owned())),
    }
}
