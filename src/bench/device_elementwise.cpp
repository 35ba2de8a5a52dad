// Element by element, at the sizes of GPT-2 124M and Qwen2.5 0.5B: exact, so one bit of difference
// is wrong. Bytes are what each kernel's comment says.
#include "bench/device_rig.hpp"
#include "sherd/kernels/elementwise.hpp"
#include "sherd/kernels/interface.hpp"
#include "sherd/kernels/swiglu.hpp"

namespace sherd::bench {
namespace {

constexpr DType half = DType::bf16;

double elements(const View& view) { return static_cast<double>(view.numel()); }

Launch gelu(Place& place, Shape shape) {
  const View in = place.noise(shape, half, 4), out = place.result(place.room(shape, half));
  return {[=, at = place.stream()] { kernels::gelu(in, out, at); }, 4 * elements(in)};
}

Launch gelu_backward(Place& place, Shape shape) {
  const View in = place.noise(shape, half, 4), d_out = place.noise(shape, half),
             d_in = place.result(place.room(shape, half));
  return {[=, at = place.stream()] { kernels::gelu_backward(in, d_out, d_in, at); },
          6 * elements(in)};
}

Launch add(Place& place, Shape shape) {
  const View a = place.noise(shape, half), b = place.noise(shape, half),
             out = place.result(place.room(shape, half));
  return {[=, at = place.stream()] { kernels::add(a, b, out, at); }, 6 * elements(a)};
}

Launch dropout(Place& place, Shape shape) {
  const View branch = place.noise(shape, half), residual = place.noise(shape, half),
             out = place.result(place.room(shape, half));
  const kernels::DropoutArgs args{
      .branch = branch, .residual = residual, .out = out, .p = 0.1f, .rng = {5, 6}};
  return {[=, at = place.stream()] { kernels::dropout(args, at); }, 6 * elements(out)};
}

Launch cast(Place& place, Shape shape) {
  const View in = place.noise(shape, DType::f32), out = place.result(place.room(shape, half));
  return {[=, at = place.stream()] { kernels::cast(in, out, at); }, 6 * elements(in)};
}

Launch swiglu(Place& place, Shape shape) {
  const View gate_up = place.noise({shape.rows, 2 * shape.cols}, half, 4),
             out = place.result(place.room(shape, half));
  return {[=, at = place.stream()] { kernels::swiglu(gate_up, out, at); }, 6 * elements(out)};
}

Launch swiglu_backward(Place& place, Shape shape) {
  const Shape pair{shape.rows, 2 * shape.cols};
  const View gate_up = place.noise(pair, half, 4), d_out = place.noise(shape, half),
             d_gate_up = place.result(place.room(pair, half));
  return {[=, at = place.stream()] { kernels::swiglu_backward(gate_up, d_out, d_gate_up, at); },
          10 * elements(d_out)};
}

Launch square_norm(Place& place, Shape shape) {
  const View x = place.noise({1, shape.numel()}, DType::f32);
  kernels::NormSum* sum = place.keep(kernels::NormSum{});
  place.result({reinterpret_cast<std::byte*>(sum), {1, sizeof *sum}, DType::u8});
  return {[=, at = place.stream()] { kernels::square_norm(x, *sum, at); }, 4 * elements(x)};
}

struct Kind {
  const char* name;
  Launch (*build)(Place& place, Shape shape);
  std::int64_t cols;
};
constexpr std::int64_t width = 768, inner = 4 * width, ffn = 4864;
constexpr Kind kinds[] = {
    {"device.gelu", gelu, inner},   {"device.gelu_backward", gelu_backward, inner},
    {"device.add", add, width},     {"device.dropout", dropout, width},
    {"device.swiglu", swiglu, ffn}, {"device.swiglu_backward", swiglu_backward, ffn},
    {"device.cast", cast, inner},   {"device.square_norm", square_norm, inner}};

}  // namespace

std::vector<Row> device_elementwise(DeviceRig& rig) {
  const std::int64_t rows = rig.options().quick ? 256 : 32 * 1024;
  std::vector<Row> all;
  for (const Kind& kind : kinds) {
    all.push_back(rig.against_copy({.name = kind.name,
                                    .size = rows,
                                    .small = 37,
                                    .build =
                                        [kind](Place& place, std::int64_t size) {
                                          return kind.build(place, {size, kind.cols});
                                        },
                                    .extra = {{"rows", rows}, {"cols", kind.cols}}}));
  }
  return all;
}

}  // namespace sherd::bench
