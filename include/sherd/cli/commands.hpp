#pragma once
// What each subcommand does; main.cpp has only the flags. Each returns an exit code.
#include <cstdint>
#include <string>

#include "sherd/launch/run_config.hpp"

namespace sherd::cli {

/// `sherd train`; with `output.dry_run` only the plan.
int train(const launch::Validated& run);

struct PlanOutput {
  bool json = false;             // machine-readable, on stdout
  bool print_program = false;    // list the steps
  std::string machine;           // name or file of its rates; empty: by the run's device
  bool search = false;           // rank configurations instead of planning one
  bool change_numerics = false;  // let the search split the batch in another way
};
/// `sherd plan`; `--world` is the config's `ranks`, and there may be neither steps nor data.
int plan(const launch::Validated& run, const PlanOutput& output);

enum class Bench : std::uint8_t { memory, step, comm, optim, io, data };
/// What `sherd bench memory` draws beside its rows; empty for none.
struct MemoryPictures {
  std::string largest;         // SVG: the largest model by limits
  std::string html, timeline;  // one step of the run that the flags say: page, SVG
  [[nodiscard]] bool of_run() const { return !html.empty() || !timeline.empty(); }
};
struct BenchOutput {
  bool quick = false;          // seconds instead of minutes
  bool json = false;           // a line a row, on stdout
  std::string plot;            // SVG file; empty for none
  std::string device = "cpu";  // as of a run
  std::string offload_dir;     // for io; empty: a folder of our own where there is a disk
  bool offload_dir_any = false;
  std::vector<std::string> parts{};  // of step; none: all
  std::string tokenizer, text;       // for data: files
  MemoryPictures memory{};
};
int bench(Bench what, const BenchOutput& output);

}  // namespace sherd::cli
