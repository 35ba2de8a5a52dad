// One token at a time: as fast as memory gives the weights, or how much slower.
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <numeric>

#include "sherd/bench/bounds.hpp"
#include "sherd/bench/training.hpp"
#include "sherd/engine/generator.hpp"
#include "sherd/model/presets.hpp"

namespace sherd::bench {
namespace {

// Every weight but the table of positions, of which one row is read.
double bytes_read(const model::ModelSpec& spec) {
  double bytes = 0;
  for (const model::ParamSpec& param : spec.params) {
    const std::int64_t rows = param.name == "embed.wpe" ? 1 : param.shape.rows;
    bytes += static_cast<double>(rows * param.shape.cols) * sizeof(float);
  }
  return bytes;
}

std::int64_t differences(engine::Generator& generator, std::span<const std::int32_t> tokens) {
  generator.rewind(0);
  const std::span<const float> whole = generator.extend(tokens);
  const std::vector<float> wanted(whole.begin(), whole.end());
  generator.rewind(std::ssize(tokens) - 1);
  const std::span<const float> found = generator.extend(tokens.last(1));
  std::int64_t wrong = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    wrong += std::abs(found[i] - wanted[i]) <= 1e-3f ? 0 : 1;
  return wrong;
}

}  // namespace

Row generate(const BenchOptions& options, const Say& say) {
  const std::string name = options.quick ? "gpt2-tiny" : "gpt2-124m";
  say(fmt::format("{} generates in fp32 on {} thread{}", name, options.threads,
                  options.threads == 1 ? "" : "s"));
  const model::Network network = model::build({.model = name});
  std::vector<std::int32_t> tokens(17);
  std::iota(tokens.begin(), tokens.end(), 1);
  engine::Generator generator(network.model, {.threads = options.threads,
                                              .vocab_size = network.vocab_size,
                                              .capacity = std::ssize(tokens)});
  generator.load(*model::random_weights(0));
  const std::int64_t wrong = differences(generator, tokens);

  device::Stream stream(options.threads);
  const std::array passes = {Pass([&] {
                               generator.rewind(std::ssize(tokens) - 1);
                               (void)generator.extend(std::span(tokens).last(1));
                             }),
                             Pass([&] { (void)read_bytes(generator.weights(), stream); })};
  const std::vector<Timing> times = alternate(4 * options.effective_rounds(), passes);
  return {.name = fmt::format("generate {} fp32", name),
          .time = times[0],
          .unit = Work::bytes,
          .work = bytes_read(generator.spec()),
          .bound_name = "reading the same weights once",
          .bound = static_cast<double>(generator.weights().size()) / times[1].median,
          .wrong = wrong,
          .extra = {{"threads", std::int64_t{options.threads}},
                    {"tokens_per_second", times[0].median > 0 ? 1 / times[0].median : 0},
                    {"memory", static_cast<std::int64_t>(generator.memory().total())}}};
}

}  // namespace sherd::bench
