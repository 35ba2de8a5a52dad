// One fused pass of each optimizer over a model's parameters.
#include "bench/device_rig.hpp"
#include "sherd/bench/device.hpp"
#include "sherd/kernels/update.hpp"

namespace sherd::bench {
namespace {

struct Kind {
  const char* name;
  void (*update)(const kernels::UpdateArgs&, StreamRef);
  DType grad;
  bool has_v;
};
constexpr Kind kinds[] = {{"device.adamw", kernels::adamw, DType::bf16, true},
                          {"device.adamw", kernels::adamw, DType::f32, true},
                          {"device.lion", kernels::lion, DType::bf16, false},
                          {"device.sgd", kernels::sgd, DType::bf16, false}};

// Gradient in, parameter out, and each fp32 array in and out.
double bytes_of(const Kind& kind) {
  return static_cast<double>(size_of(kind.grad)) + 2 + (kind.has_v ? 24 : 16);
}

Launch build(const Kind& kind, Place& place, std::int64_t n) {
  const Shape shape{1, n};
  const kernels::UpdateScalars scalars{
      .factor = 1.0f / 1024, .lr = 1e-3f, .bias1 = 0.1, .bias2 = 1e-3};
  const kernels::UpdateArgs args{
      .grad = place.noise(shape, kind.grad, 1024),
      .master = place.result(place.noise(shape, DType::f32)),
      .m = place.result(place.noise(shape, DType::f32, 0.01f)),
      .v = kind.has_v ? place.result(place.room(shape, DType::f32)) : View{},
      .param = place.result(place.room(shape, DType::bf16)),
      .weight_decay = 0.1f,
      .scalars = place.keep(scalars)};
  return {[kind, args, at = place.stream()] { kind.update(args, at); },
          bytes_of(kind) * static_cast<double>(n)};
}

}  // namespace

std::vector<Row> device_optim(const device::OpenDevice& device, const BenchOptions& options) {
  const std::int64_t n = options.n > 0 ? options.n : options.quick ? 1 << 20 : 64 << 20;
  DeviceRig rig(device, options);
  std::vector<Row> rows;
  for (const Kind& kind : kinds) {
    rows.push_back(rig.against_copy(
        {.name = kind.name,
         .size = n,
         .small = 256 * 517,
         .build = [kind](Place& place, std::int64_t size) { return build(kind, place, size); },
         .extra = {{"n", n},
                   {"gradient", std::string(name_of(kind.grad))},
                   {"bytes_per_element", bytes_of(kind)}}}));
  }
  return rows;
}

}  // namespace sherd::bench
