#pragma once
// docs/config.md, rendered from the description of the fields.
#include <initializer_list>
#include <string>
#include <string_view>

#include "cli/value.hpp"
#include "sherd/launch/field.hpp"

namespace sherd::cli {

inline std::string in_cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2)
    text.insert(at, "\\");
  return text;
}

/// "| one | two |".
inline std::string row_of(std::initializer_list<std::string> cells) {
  std::string row = "|";
  for (const std::string& cell : cells) row.append(" ").append(cell).append(" |");
  return row;
}

inline std::string as_code(std::string_view text) {
  std::string code = "`";
  return code.append(text).append("`");
}

inline std::string config_row(const launch::Field& field) {
  const std::string usual = text_of(field);
  return row_of({as_code(launch::flag_of(field.key)), as_code(field.key),
                 usual.empty() ? "none" : as_code(usual), in_cell(launch::allowed(field)),
                 in_cell(std::string(field.help))});
}

inline std::string config_page() {
  std::string page =
      "# Configuration\n\n"
      "Every setting of a run has three faces: a flag (`--zero-stage 3`), a key of the JSON file "
      "given with `--config`\n(`\"zero_stage\": 3`) and a C++ field (`config.sharding.zero_stage = "
      "3`). Flags override the file. `--print-config` prints\nthe outcome, which is a valid file "
      "again. Sizes are plain bytes or `512MiB`, `2GiB`; in JSON a number of bytes or such a text."
      "\nPaths are given one after the other, in JSON as an array of texts. A flag without a value "
      "is switched off again by\n`--quiet=false`. Unknown flags, keys and values, repeated flags "
      "and "
      "keys, and settings that exclude each other are refused\nwith one message that lists all of "
      "them, before any work, with exit code 2.\n";
  launch::RunConfig usual;
  const std::vector<launch::Field> fields = launch::describe(usual);
  const launch::Field* before = nullptr;
  for (const launch::Field& field : fields) {
    if (before == nullptr || before->concern != field.concern) {
      const auto concern = static_cast<std::size_t>(field.concern);
      page.append("\n## ").append(launch::concern_names[concern]).append("\n\n");
      page += "| flag | JSON key | default | value | what it is |\n|---|---|---|---|---|\n";
    }
    page += config_row(field) + "\n";
    before = &field;
  }
  return page +
         "\n## What belongs together\n\n"
         "* `global_batch = micro_batch x grad_accum x ranks`, all in whole numbers. Any one may "
         "be "
         "left out; without `global_batch`\n  and `micro_batch` the micro-batch is 8; without "
         "`grad_accum` it is what the others leave, else 1.\n"
         "* Training needs `--steps` or `--epochs`, never both. `--eval-every` and "
         "`--eval-batches` need `--val-data`.\n"
         "* `--loss-scale` and its companions need `--precision fp16`; the companions need a "
         "dynamic scale.\n"
         "* `--reduce-order canonical` implies `--reduce-every micro` and excludes `step` and "
         "`--grad-dtype bf16`.\n"
         "* `--heads` divides `--width`; `--seq-len` is at most `--context`.\n";
}

}  // namespace sherd::cli
