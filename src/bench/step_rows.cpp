#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <thread>

#include "bench/buffers.hpp"
#include "bench/rig.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/bench/comm.hpp"
#include "sherd/bench/training.hpp"
#include "sherd/plan/simulate.hpp"

namespace sherd::bench {
namespace {

/// Every product of a list, on operands shared by all of them, by the library alone.
class Products {
 public:
  explicit Products(std::vector<GemmShape> shapes) : shapes_(std::move(shapes)) {
    std::int64_t a = 0, b = 0, out = 0;
    for (const GemmShape& s : shapes_) {
      a = std::max(a, s.m * s.k);
      b = std::max(b, s.k * s.n);
      out = std::max(out, s.m * s.n);
    }
    buffers_.emplace(Buffers::cost({1, a}, DType::f32) + Buffers::cost({1, b}, DType::f32) +
                     Buffers::cost({1, out}, DType::f32));
    a_ = buffers_->take({1, a}, DType::f32);
    b_ = buffers_->take({1, b}, DType::f32);
    out_ = buffers_->take({1, out}, DType::f32);
    std::ranges::fill(a_.span<float>(), 0.5f);
    std::ranges::fill(b_.span<float>(), 0.25f);
  }
  void run(int threads) const {
    for (const GemmShape& shape : shapes_) {
      for (std::int64_t i = 0; i < shape.times; ++i)
        library_gemm(shape, a_.as<float>(), b_.as<float>(), out_.as<float>(), threads);
    }
  }
  /// The same cut by rows into a share for each of `threads` threads, which never meet in between.
  void run_shares(int threads) const {
    std::vector<std::thread> helpers;
    for (int t = 1; t < threads; ++t) helpers.emplace_back([&, t] { run_share(t, threads); });
    run_share(0, threads);
    for (std::thread& helper : helpers) helper.join();
  }
  [[nodiscard]] double flops() const {
    double sum = 0;
    for (const GemmShape& s : shapes_) sum += s.flops() * static_cast<double>(s.times);
    return sum;
  }

 private:
  void run_share(std::int64_t index, int threads) const {
    for (GemmShape shape : shapes_) {
      const std::int64_t first = shape.m * index / threads, last = shape.m * (index + 1) / threads;
      shape.m = last - first;
      for (std::int64_t i = 0; i < shape.times && shape.m > 0; ++i)
        library_gemm(shape, a_.as<float>(), b_.as<float>(), out_.as<float>() + first * shape.n, 1);
    }
  }

  std::vector<GemmShape> shapes_;
  std::optional<Buffers> buffers_;
  View a_, b_, out_;
};

Row row_of(const RunShape& shape, const Timing& time, double flops, double bound_seconds) {
  const double tokens =
      static_cast<double>(shape.micro_batch * shape.seq_len * shape.grad_accum * shape.ranks);
  return {.name = fmt::format("step {} {}", shape.model, name_of(shape.precision)),
          .time = time,
          .unit = Work::flops,
          .work = flops,
          .bound_name = "the library's own products of the step's sizes",
          .bound = flops / bound_seconds,
          .extra = {{"ranks", std::int64_t{shape.ranks}},
                    {"threads", std::int64_t{shape.threads}},
                    {"zero_stage", std::int64_t{shape.zero_stage}},
                    {"micro_batch", shape.micro_batch},
                    {"seq_len", shape.seq_len},
                    {"grad_accum", shape.grad_accum},
                    {"tokens_per_second", time.median > 0 ? tokens / time.median : 0}}};
}

// Median seconds a step by verb, of the steps after the first.
void add_breakdown(const Rig& rig, Row& row) {
  std::map<plan::Verb, std::vector<double>> seconds;
  const std::size_t steps = rig.plan().train.program.steps.size();
  const std::vector<engine::TraceEvent>& events = rig.trace().events();
  for (std::size_t i = 0; i < events.size(); ++i) {
    std::vector<double>& of = seconds[events[i].verb];
    of.resize(i / steps + 1, 0);
    of.back() += std::chrono::duration<double>(events[i].duration).count();
  }
  for (auto& [verb, of] : seconds) {
    if (of.size() > 1) of.erase(of.begin());
    const double median = summarize(of).median;
    if (median >= 1e-4) row.extra.emplace_back(fmt::format("{}_seconds", name_of(verb)), median);
  }
}

// All of `shapes` in turn with the library's products, so that their ratios hold on a noisy
// machine.
std::vector<Row> in_process(const std::vector<RunShape>& shapes, const BenchOptions& options,
                            const Children& children) {
  const std::string data = sample_text(children, 1 << 16);
  const Products products(products_of(shapes.front()));
  const plan::Machine machine = measure_machine(options);
  std::vector<std::unique_ptr<Rig>> rigs;
  std::vector<Pass> passes;
  std::vector<std::int64_t> wrong(shapes.size(), 0);
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    rigs.push_back(std::make_unique<Rig>(shapes[i], data));
    passes.emplace_back([&, i] {
      rigs[i]->step();
      wrong[i] += std::isfinite(rigs[i]->last().loss) ? 0 : 1;
    });
  }
  passes.emplace_back([&] { products.run(options.threads); });
  passes.emplace_back([&] { products.run_shares(options.threads); });
  const std::vector<Timing> times = alternate(options.effective_rounds(), passes);
  const double bound = std::min(times[shapes.size()].median, times.back().median);
  std::vector<Row> rows = {machine_row(machine, options)};
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    Row row = row_of(shapes[i], times[i], products.flops(), bound);
    row.wrong = wrong[i];
    add_breakdown(*rigs[i], row);
    row.extra.emplace_back("model_seconds", plan::simulate(rigs[i]->plan(), machine).seconds);
    rows.push_back(std::move(row));
  }
  return rows;
}

// The faster of the library's own threading, which suffers on busy cores, and a share a thread.
double fastest(const Products& products, int threads, int rounds) {
  const std::array passes = {Pass([&] { products.run(threads); }),
                             Pass([&] { products.run_shares(threads); })};
  const std::vector<Timing> times = alternate(rounds, passes);
  return std::min(times[0].median, times[1].median);
}

// As many threads as ranks, each with the products of one rank.
double ranks_bound(const RunShape& shape, int rounds) {
  std::vector<Products> products;
  products.reserve(static_cast<std::size_t>(shape.ranks));
  for (int rank = 0; rank < shape.ranks; ++rank) products.emplace_back(products_of(shape));
  const std::array passes = {Pass([&] {
    std::vector<std::thread> threads;
    threads.reserve(products.size());
    for (const Products& own : products)
      threads.emplace_back([&] { own.run_shares(shape.threads); });
    for (std::thread& thread : threads) thread.join();
  })};
  return alternate(rounds, passes)[0].median;
}

std::vector<Row> in_children(RunShape shape, const BenchOptions& options, const Children& children,
                             const Say& say) {
  const std::string data = sample_text(children, 1 << 16);
  const double flops = Products(products_of(shape)).flops() * shape.ranks;
  std::vector<Row> rows;
  std::string hash;
  for (const int stage : {0, 3}) {
    shape.zero_stage = stage;
    say(fmt::format("{} at stage {} on {} ranks", shape.model, stage, shape.ranks));
    const double before = ranks_bound(shape, 1);
    ChildRun run = train_in_child(children, flags_of(shape, data, options.effective_rounds() + 1));
    const double after = ranks_bound(shape, 1);
    run.step_seconds.erase(run.step_seconds.begin());
    Row row = row_of(shape, summarize(run.step_seconds), flops, (before + after) / 2);
    row.wrong = std::ranges::count_if(run.losses, [](double x) { return !std::isfinite(x); });
    if (!hash.empty() && hash != run.parameters_hash) ++row.wrong;
    hash = run.parameters_hash;
    rows.push_back(std::move(row));
  }
  return rows;
}

// The same step with its optimizer beside the device, in turns with all on the device.
std::vector<Row> offloaded(const RunShape& shape, const BenchOptions& options,
                           const Children& children, const Say& say) {
  const std::vector<std::pair<const char*, std::vector<std::string>>> placements = {
      {"resident", {}},
      {"optimizer host", {"--offload-optimizer", "host"}},
      {"optimizer host, gradients device",
       {"--offload-optimizer", "host", "--offload-grads", "none"}}};
  const std::string data = sample_text(children, 1 << 16);
  std::vector<std::vector<double>> seconds(placements.size());
  std::vector<std::string> hashes(placements.size());
  for (int turn = 0; turn < 2; ++turn) {
    for (std::size_t i = 0; i < placements.size(); ++i) {
      say(fmt::format("{}, {} micro-steps: {}", shape.model, shape.grad_accum,
                      placements[i].first));
      std::vector<std::string> flags = flags_of(shape, data, options.effective_rounds() + 1);
      flags.insert(flags.end(), placements[i].second.begin(), placements[i].second.end());
      const ChildRun run = train_in_child(children, flags);
      seconds[i].insert(seconds[i].end(), run.step_seconds.begin() + 1, run.step_seconds.end());
      hashes[i] = run.parameters_hash;
    }
  }
  const double flops = Products(products_of(shape)).flops() * static_cast<double>(shape.grad_accum);
  const double resident = summarize(seconds[0]).median;
  std::vector<Row> rows;
  for (std::size_t i = 1; i < placements.size(); ++i) {
    Row row = row_of(shape, summarize(seconds[i]), flops, resident);
    row.name += fmt::format(", {}", placements[i].first);
    row.bound_name = "the same step with all on the device";
    row.wrong = hashes[i] == hashes[0] ? 0 : 1;
    rows.push_back(std::move(row));
  }
  return rows;
}

// How long training waits for saves beside it: memory for a whole copy is there.
Row held_up(const RunShape& shape, const BenchOptions& options, const Children& children,
            const Say& say) {
  say(fmt::format("{} saves every third step", shape.model));
  const int saves = options.effective_rounds();
  std::vector<std::string> flags = flags_of(shape, sample_text(children, 1 << 16), 3 * saves + 1);
  const std::string folder = (children.folder / "saves").string();
  for (const char* word :
       {"--save", folder.c_str(), "--save-every", "3", "--keep", "1", "--save-memory", "8GiB"})
    flags.emplace_back(word);
  const ChildRun run = train_in_child(children, flags);
  std::filesystem::remove_all(folder);
  std::vector<double> stalls;  // but of the last one, which the end of the run waits for
  for (std::size_t i = 0; i + 1 < run.saves.size(); ++i)
    stalls.push_back(run.saves[i].stall_seconds);

  const Bytes bytes = run.saves.front().bytes;
  const Shape all{1, static_cast<std::int64_t>(bytes / sizeof(float))};
  Buffers buffers(2 * Buffers::cost(all, DType::f32));
  const View from = buffers.take(all, DType::f32), to = buffers.take(all, DType::f32);
  device::Stream stream(shape.threads);
  // In long runs, past the caches, or in portions: whichever is faster here.
  const std::array passes = {Pass([&] { copy_bytes(from.raw(), to.raw(), stream); }),
                             Pass([&] { copy_portions(from.raw(), to.raw(), stream); })};
  const std::vector<Timing> copies = alternate(options.effective_rounds(), passes);
  const double copy = std::min(copies[0].median, copies[1].median);
  return {.name = fmt::format("save stall {} {}", shape.model, name_of(shape.precision)),
          .time = summarize(std::move(stalls)),
          .work = static_cast<double>(bytes),
          .bound_name = "copying as many bytes in memory",
          .bound = static_cast<double>(bytes) / copy,
          .extra = {{"threads", std::int64_t{shape.threads}},
                    {"step_seconds", summarize(run.step_seconds).median}}};
}

Row start_up(const RunShape& shape, const BenchOptions& options, const Children& children) {
  const std::string data = sample_text(children, 1 << 16);
  std::vector<double> seconds;
  seconds.reserve(static_cast<std::size_t>(options.effective_rounds()));
  for (int round = 0; round < options.effective_rounds(); ++round)
    seconds.push_back(train_in_child(children, flags_of(shape, data, 1)).seconds_to_first_step);
  const Products products(products_of(shape));
  Row row = row_of(shape, summarize(std::move(seconds)), products.flops(),
                   fastest(products, options.threads, options.effective_rounds()));
  row.name = fmt::format("start {}", shape.model);
  return row;
}

}  // namespace

std::vector<Row> step(std::string_view part, const BenchOptions& options, const Children& children,
                      const Say& say) {
  const int threads = options.threads;
  RunShape shape{.model = options.quick ? "gpt2-tiny" : "gpt2-124m", .threads = threads};
  if (part == "resident") {
    RunShape half = shape;
    half.precision = optim::Precision::bf16;
    say(fmt::format("{} in fp32 and bf16 on {} thread{}", shape.model, threads,
                    threads == 1 ? "" : "s"));
    return in_process({shape, half}, options, children);
  }
  if (part == "ranks") {
    shape.ranks = 2;
    shape.threads = 1;
    shape.micro_batch = 2;
    return in_children(shape, options, children, say);
  }
  if (part == "offload") {
    shape.precision = optim::Precision::bf16;
    shape.grad_accum = 4;
    return offloaded(shape, options, children, say);
  }
  if (part == "save") return {held_up(shape, options, children, say)};
  if (part == "llama") {
    if (options.quick) return {};
    shape.model = "qwen2.5-0.5b";
    say(fmt::format("{} in fp32", shape.model));
    std::vector<Row> rows = in_process({shape}, options, children);
    rows.erase(rows.begin());  // the machine's
    return rows;
  }
  if (part == "generate") return {generate(options, say)};
  expects(part == "start", "bench step: got an unknown part");
  say("gpt2-tiny from the start of a process to its first step");
  return {start_up({.threads = threads}, options, children)};
}

}  // namespace sherd::bench
