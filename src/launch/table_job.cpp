#include <fmt/format.h>

#include "sherd/base/errors.hpp"
#include "sherd/data/table.hpp"
#include "sherd/launch/job.hpp"

namespace sherd::launch {
namespace {

std::unique_ptr<data::Source> open(const char* flag, const std::vector<std::string>& paths,
                                   std::int64_t labels) {
  if (paths.empty()) return nullptr;
  if (paths.size() > 1)
    throw ConfigError({fmt::format("{}: got {} paths, need one table", flag, paths.size())});
  return data::csv(paths.front(), labels);
}

}  // namespace

Job table_job(const Validated& run, TableOptions options) {
  if (run->data.seq_len > 0)
    throw ConfigError({"--seq-len: the rows of a table have no length; leave it out"});
  if (run->data.tokenizer != "bytes")
    throw ConfigError({"--tokenizer: a table has no text; leave it out"});
  Job job;
  job.description = std::move(options.description);
  job.train = open("--data", run->data.data, options.labels);
  job.validate = open("--val-data", run->data.val_data, options.labels);
  if (!job.train) throw ConfigError({"--data: needed, one table; its columns shape the network"});
  job.sample = job.train->shape();
  if (job.validate && job.validate->shape().input_cols != job.sample.input_cols) {
    throw ConfigError({fmt::format("--val-data: got {} columns of inputs, need {} as in --data",
                                   job.validate->shape().input_cols, job.sample.input_cols)});
  }
  return job;
}

}  // namespace sherd::launch
