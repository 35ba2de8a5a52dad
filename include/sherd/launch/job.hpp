#pragma once
// What a run trains: the network and its data, which flags name for the zoo and code for the rest.
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "sherd/data/source.hpp"
#include "sherd/launch/run_config.hpp"
#include "sherd/model/block.hpp"
#include "sherd/model/weights.hpp"
#include "sherd/plan/plan.hpp"

namespace sherd::launch {

/// Built by every process of a run in the same way.
struct Job {
  Model model;
  std::string description;                 // of the network: everything that changes a bit
  std::int64_t length = 1;                 // positions of a sequence
  data::SampleShape sample{};              // of both sources
  std::unique_ptr<data::Source> train;     // absent for a plan without data
  std::function<void()> check_data;        // reads all of it once, before the ranks start
  std::unique_ptr<data::Source> validate;  // may be absent
  std::function<std::unique_ptr<model::Weights>(const model::ModelSpec&)>
      weights;  // default: random
};

/// The zoo's network and token files, as the flags say.
///
/// **Errors** ConfigError for the network's numbers, DataError for files.
[[nodiscard]] Job zoo_job(const Validated& run);

struct TableOptions {
  std::int64_t labels = 1;  // the last columns
  std::string description;  // of the network, as in Job
};
/// A job without a model yet: the tables (CSV) of `--data` and `--val-data`, one row a sequence.
///
/// **Errors** ConfigError for more than one table each, `--seq-len`, or columns that differ;
/// DataError for files.
[[nodiscard]] Job table_job(const Validated& run, TableOptions options);

/// What flags, job and machine come to.
struct Prepared {
  plan::Plan plan;  // of one rank
  int threads = 1;
  bool overlap = false;
  std::uint64_t steps = 0;
  std::string policy_key{};  // the numerics key but for the first weights
};

/// Declares, lays out, plans. Pure but for the machine's core count.
///
/// **Errors** ConfigError: more ranks than sequences, a sequence longer than the context, …
[[nodiscard]] Prepared prepare(const Validated& run, const Job& job, Rank rank);

/// The device and the libraries behind its products, in words.
[[nodiscard]] std::string path_of(const Validated& run, DType compute);

/// Where parameters start from: the job's own, or random by seed.
[[nodiscard]] std::unique_ptr<model::Weights> first_weights(const Validated& run, const Job& job,
                                                            const model::ModelSpec& spec);

/// Hash of everything that may change a bit; equal keys give equal parameters. `weights` is the
/// fingerprint of those the run started from.
[[nodiscard]] std::string numerics_key(const Prepared& prepared, std::uint64_t weights);

/// Bytes by tier, as planned or as allowed.
struct Limits {
  Bytes device = 0;  // for one rank
  Bytes host = 0;    // for all ranks of the machine
  Bytes files = 0;   // likewise, in the file tier
  Bytes memory = 0;  // of devices and host together where they are one; 0 as a limit: none
  bool operator==(const Limits&) const = default;
};
/// What a plan needs where `ranks` ranks share a machine.
[[nodiscard]] Limits needs_of(const plan::Plan& plan, int ranks);
[[nodiscard]] inline bool within(const Limits& needs, const Limits& limits) {
  return needs.device <= limits.device && needs.host <= limits.host &&
         needs.files <= limits.files && (limits.memory == 0 || needs.memory <= limits.memory);
}
/// What flags allow, else what is free here; a device tells only its own ranks.
[[nodiscard]] Limits limits_of(const Validated& run);
/// Throws CapacityError naming need, limit, and at least one line of flags that fits (or says that
/// none was found).
void require_fit(const Validated& run, const Job& job, const plan::Plan& plan,
                 const Limits& limits);

}  // namespace sherd::launch
