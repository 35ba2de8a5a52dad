#pragma once
// What to train on and in which portions.
#include <cstdint>
#include <string>
#include <vector>

namespace sherd::data {

struct DataConfig {
  std::vector<std::string> data;      // text, .jsonl, .bin (llm.c), .npy, folders
  std::vector<std::string> val_data;  // the same, held out
  std::string tokenizer = "bytes";    // or a tokenizer.json, or its folder
  std::int64_t seq_len = 0;           // tokens a sample; 0: the model's context
};

/// global_batch = micro_batch · grad_accum · ranks; zero means "work it out".
struct BatchConfig {
  std::int64_t micro_batch = 0;   // sequences per rank and micro-step
  std::int64_t grad_accum = 0;    // micro-steps a step
  std::int64_t global_batch = 0;  // sequences a step
  std::int64_t steps = 0;         // steps in all
  std::int64_t epochs = 0;        // instead of steps
  std::int64_t eval_every =
      0;  // steps between evaluations; 0: only at the end (when there is val_data)
  std::int64_t eval_batches = 0;  // micro-batches per rank and evaluation; 0: all of val_data, once
};

}  // namespace sherd::data
