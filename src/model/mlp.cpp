#include "sherd/model/mlp.hpp"

#include <cmath>

#include "model/carver.hpp"
#include "sherd/kernels/cross_entropy.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/model/linear.hpp"

namespace sherd::model {

void Features::declare(Declare& d) const { d.output({d.rows().rows, columns_}); }
void Features::forward(const Forward& f) { kernels::cast(f.batch.inputs, f.out, f.stream); }
void Features::backward(const Backward&) {}

namespace {
enum Params : std::size_t { weight, bias };
}  // namespace

void Linear::declare(Declare& d) const {
  const std::int64_t rows = d.rows().rows;
  const Target target = d.target();
  d.input({rows, in_});
  d.output({rows, out_});
  const float stddev = 1 / std::sqrt(static_cast<float>(in_));
  const ParamId w = d.param("weight", {in_, out_}, {0, stddev});
  d.param("bias", {1, out_}, {0, 0});
  d.backward_reads({w});
  d.save_input();
  const Bytes products = linear_scratch({rows, in_, out_}, target);
  Carver backward;
  if (activation_ == Activation::gelu) {
    d.save("sum", {rows, out_}, target.compute);
    backward.take({rows, out_}, target.compute);
  }
  backward.take(products);
  d.scratch(products, backward.used());
}

void Linear::forward(const Forward& f) {
  const View before_gelu = activation_ == Activation::gelu ? f.saves[0] : View{};
  linear({f.in, f.params[weight], f.params[bias], f.out, f.scratch, before_gelu}, f.stream);
}

void Linear::backward(const Backward& b) {
  Carver scratch(b.scratch);
  View d_sum = b.d_out;
  if (activation_ == Activation::gelu) {
    d_sum = scratch.take(b.d_out.shape, b.d_out.type);
    kernels::gelu_backward(b.saves[0], b.d_out, d_sum, b.stream);
  }
  linear_backward(
      {b.in, b.params[weight], d_sum, b.d_in, b.grads[weight], b.grads[bias], scratch.rest()},
      b.stream);
}

void SquaredErrorHead::declare(Declare& d) const {
  const Shape shape{d.rows().rows, outputs_};
  d.input(shape);
  Carver evaluation, training;
  evaluation.take(shape, DType::f32);
  training.take(shape, DType::f32);
  training.take(shape, DType::f32);
  d.scratch(evaluation.used(), training.used());
}

void SquaredErrorHead::loss(const LossCall& call) {
  Carver scratch(call.scratch);
  const View out = scratch.take(call.in.shape, DType::f32);
  const View d_out = call.scale != nullptr ? scratch.take(call.in.shape, DType::f32) : View{};
  kernels::cast(call.in, out, call.stream);
  kernels::squared_error(
      {out, call.batch.labels, d_out, call.scale, call.nominal_tokens, call.sums}, call.stream);
  if (d_out) kernels::cast(d_out, call.d_in, call.stream);
}

void SquaredErrorHead::logits(const Forward& f) {
  kernels::cast(f.in.rows(0, f.out.shape.rows), f.out, f.stream);
}

void ClassifierHead::declare(Declare& d) const {
  const Shape shape{d.rows().rows, classes_};
  d.input(shape);
  Carver scratch;
  scratch.take(shape, DType::f32);
  d.scratch(scratch.used(), scratch.used());
}

void ClassifierHead::loss(const LossCall& call) {
  Carver scratch(call.scratch);
  const View logits = scratch.take(call.in.shape, DType::f32);
  kernels::cast(call.in, logits, call.stream);
  kernels::cross_entropy({logits, call.batch.labels, call.scale, call.nominal_tokens, call.sums},
                         call.stream);
  if (call.scale != nullptr) kernels::cast(logits, call.d_in, call.stream);
}

void ClassifierHead::logits(const Forward& f) {
  kernels::cast(f.in.rows(0, f.out.shape.rows), f.out, f.stream);
}

Model mlp(const MlpConfig& c) {
  expects(c.inputs > 0 && c.width > 0 && c.hidden >= 0 && c.outputs > 0,
          "mlp: inputs, width and outputs must be positive, hidden not negative");
  Model model;
  model.add<Features>("features", c.inputs);
  for (std::int64_t i = 0; i <= c.hidden; ++i) {
    const bool last = i == c.hidden;
    model.add<Linear>("layer" + std::to_string(i) + ".linear", i == 0 ? c.inputs : c.width,
                      last ? c.outputs : c.width, last ? Activation::none : Activation::gelu);
  }
  if (c.task == Task::regression) {
    model.end<SquaredErrorHead>(c.outputs);
  } else {
    model.end<ClassifierHead>(c.outputs);
  }
  return model;
}

}  // namespace sherd::model
