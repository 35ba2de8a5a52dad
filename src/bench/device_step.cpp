#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bench/device_rig.hpp"
#include "bench/rig.hpp"
#include "sherd/bench/device.hpp"

namespace sherd::bench {
namespace {

constexpr int settled = 3;  // steps until phases are recorded

double fastest(const std::vector<Row>& rows, const std::string& model) {
  double most = 0;
  for (const Row& row : rows) {
    if (row.name.starts_with("device.matmul." + model)) most = std::max(most, row.bound);
  }
  return most;
}

Row step_row(const RunShape& shape, const BenchOptions& options, const Children& children,
             const std::string& device) {
  const std::string data = sample_text(children, 1 << 20);
  std::vector<std::string> flags = flags_of(shape, data, options.effective_rounds() + settled);
  flags.insert(flags.end(), {"--device", device});
  ChildRun run = train_in_child(children, flags);
  run.step_seconds.erase(run.step_seconds.begin(), run.step_seconds.begin() + settled);
  double flops = 0;
  for (const GemmShape& product : products_of(shape))
    flops += product.flops() * static_cast<double>(product.times);
  Row row{.name = fmt::format("device.step.{}", shape.model),
          .time = summarize(std::move(run.step_seconds)),
          .unit = Work::flops,
          .work = flops,
          .bound_name = {},
          .extra = {}};
  row.wrong = std::ranges::count_if(run.losses, [](double x) { return !std::isfinite(x); });
  const double tokens = static_cast<double>(shape.micro_batch * shape.seq_len);
  row.extra = {{"precision", std::string(name_of(shape.precision))},
               {"micro_batch", shape.micro_batch},
               {"seq_len", shape.seq_len},
               {"tokens_per_second", row.time.median > 0 ? tokens / row.time.median : 0},
               {"seconds_to_first_step", run.seconds_to_first_step}};
  return row;
}

}  // namespace

std::vector<Row> device_step(const device::OpenDevice& device, const BenchOptions& options,
                             const Children& children, const std::string& name, const Say& say) {
  std::vector<Row> rows;
  RunShape shape{.model = "gpt2-124m",
                 .precision = optim::Precision::bf16,
                 .threads = 1,
                 .micro_batch = 32,
                 .seq_len = 1024};
  if (options.quick) shape = {.precision = optim::Precision::bf16, .threads = 1};
  const auto add = [&rows](std::vector<Row> more) {
    std::ranges::move(more, std::back_inserter(rows));
  };
  std::vector<Extra> origin;
  {
    DeviceRig rig(device, options);
    origin = rig.origin();
    say("memory-bound kernels on " + name);
    add(device_elementwise(rig));
    add(device_by_rows(rig));
    add(device_gradients(rig));
    say("products and attention on " + name);
    const std::vector<Row> products = device_products(rig);
    add(products);
    add(device_attention(rig, products));
  }
  say(shape.model + " on " + name);
  Row step = step_row(shape, options, children, name);
  step.bound_name = "the library's fastest product of this run";
  step.bound = fastest(rows, shape.model);
  step.extra.insert(step.extra.begin(), origin.begin(), origin.end());
  rows.push_back(std::move(step));
  return rows;
}

}  // namespace sherd::bench
