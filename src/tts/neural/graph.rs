//! A graph from a file, cut at values inside of it.

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::TensorView;
use rten_tensor::prelude::*;
use std::cell::RefCell;
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

    pub(super) fn settings() -> GraphError {
        GraphError(
            "the .onnx.json of a Piper voice has to lie beside it, with its sample rate and symbols"
                .to_owned(),
        )
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
    bytes: Vec<u8>,
    inputs: Vec<String>,
}

impl Graph {
    /// Reads a graph.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Graph, GraphError> {
        let model =
            Model::load(bytes.clone()).map_err(|why| GraphError(format!("it is no ONNX graph ({why})")))?;
        let names = model.input_ids().iter().filter_map(|&id| model.node_info(id));
        let inputs = names.map(|info| info.name().unwrap_or_default().to_owned()).collect();
        Ok(Graph { bytes, inputs })
    }

    /// Names of the inputs.
    pub(super) fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// Cuts out the part from these values to those.
    ///
    /// Each part is a graph of its own: rten keeps one plan of execution for each.
    pub(super) fn cut(&self, inputs: &[&str], outputs: &[&str]) -> Result<Cut, GraphError> {
        let mut options = ModelOptions::with_all_ops();
        options.prepack_weights(true);
        let model = options.load(self.bytes.clone()).map_err(|why| GraphError(why.to_string()))?;
        let find = |names: &[&str]| {
            let ids = names.iter().map(|name| {
                model.find_node(name).ok_or_else(|| GraphError(format!("it has no value `{name}`")))
            });
            ids.collect::<Result<Vec<NodeId>, GraphError>>()
        };
        Ok(Cut { inputs: find(inputs)?, outputs: find(outputs)?, model })
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
