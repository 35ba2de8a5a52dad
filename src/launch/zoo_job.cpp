#include <fmt/format.h>

#include "sherd/base/errors.hpp"
#include "sherd/data/tokens.hpp"
#include "sherd/launch/job.hpp"
#include "sherd/model/hugging_face.hpp"
#include "sherd/model/presets.hpp"

namespace sherd::launch {

Job zoo_job(const Validated& run) {
  model::Network network = model::build(run->model);
  Job job;
  job.length = run->data.seq_len > 0 ? run->data.seq_len : network.context;
  if (job.length > network.context) {
    throw ConfigError({fmt::format("--seq-len: got {}, need at most the model's context of {}",
                                   job.length, network.context)});
  }
  job.model = std::move(network.model);
  job.description = std::move(network.description);
  job.sample = {job.length, DType::i32, job.length, DType::i32};
  data::TokenOptions options{job.length, network.vocab_size};
  options.skip = {run->output.log, run->checkpoint.save};  // a run may keep them beside its data
  const bool reads = !run->data.data.empty() || !run->data.val_data.empty();
  if (reads && run->data.tokenizer != "bytes") options.tokenizer.emplace(run->data.tokenizer);
  const auto open = [&](const std::vector<std::string>& paths) {
    std::unique_ptr<data::TokenSource> source = data::open_tokens(paths, options);
    return source;
  };
  std::unique_ptr<data::TokenSource> train, validate;
  if (!run->data.data.empty()) train = open(run->data.data);
  if (!run->data.val_data.empty()) validate = open(run->data.val_data);
  job.check_data = [train = train.get(), validate = validate.get()] {
    if (train != nullptr) train->check_tokens();
    if (validate != nullptr) validate->check_tokens();
  };
  job.train = std::move(train);
  job.validate = std::move(validate);
  job.weights = [config = run->model](const model::ModelSpec& spec) {
    return model::open_weights(config, spec);
  };
  return job;
}

}  // namespace sherd::launch
