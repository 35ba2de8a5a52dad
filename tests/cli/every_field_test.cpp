#include <doctest/doctest.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "cli/config_page.hpp"
#include "sherd/cli/config_json.hpp"
#include "sherd/cli/options.hpp"

using namespace sherd;
using launch::Field;
using launch::RunConfig;

namespace {

/// Converts to whatever an aggregate's member is, to count the members of a struct.
struct Anything {
  template <class Type>
  operator Type&() const;  // NOLINT: never defined, only asked about
};

template <class Struct, class... Members>
consteval std::size_t member_count(Members... members) {
  if constexpr (requires { Struct{members..., Anything{}}; })
    return member_count<Struct>(members..., Anything{});
  else
    return sizeof...(members);
}

std::string page_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// Each key with a value that is not its default: as a flag's text and as JSON.
const std::map<std::string, std::pair<std::string, std::string>> samples = {
    {"model", {"gpt2-124m", "\"gpt2-124m\""}},
    {"random_init", {"", "true"}},
    {"layers", {"3", "3"}},
    {"heads", {"8", "8"}},
    {"kv_heads", {"2", "2"}},
    {"head_dim", {"16", "16"}},
    {"width", {"72", "72"}},
    {"ffn_width", {"288", "288"}},
    {"vocab_size", {"259", "259"}},
    {"context", {"64", "64"}},
    {"dropout", {"0.1", "0.1"}},
    {"lora_rank", {"4", "4"}},
    {"lora_alpha", {"32", "32.0"}},
    {"lora_targets", {"c_fc", "[\"c_fc\"]"}},
    {"lora_from", {FIXTURES "/lora/gpt2", "\"" FIXTURES "/lora/gpt2\""}},
    {"freeze", {"embed.*", "[\"embed.*\"]"}},
    {"seed", {"18446744073709551615", "18446744073709551615"}},
    {"data", {"a.txt", "[\"a.txt\"]"}},
    {"val_data", {"b.txt", "[\"b.txt\"]"}},
    {"tokenizer", {"bpe.json", "\"bpe.json\""}},
    {"seq_len", {"33", "33"}},
    {"micro_batch", {"4", "4"}},
    {"grad_accum", {"3", "3"}},
    {"global_batch", {"24", "24"}},
    {"steps", {"7", "7"}},
    {"epochs", {"2", "2"}},
    {"eval_every", {"5", "5"}},
    {"eval_batches", {"6", "6"}},
    {"ranks", {"3", "3"}},
    {"backend", {"local", "\"local\""}},
    {"device", {"cpu", "\"cpu\""}},
    {"threads", {"2", "2"}},
    {"pin_threads", {"", "true"}},
    {"timeout", {"12.5", "12.5"}},
    {"zero_stage", {"3", "3"}},
    {"bucket_bytes", {"512KiB", "524288"}},
    {"reduce_every", {"micro", "\"micro\""}},
    {"prefetch", {"0", "0"}},
    {"overlap", {"off", "\"off\""}},
    {"reduce_order", {"canonical", "\"canonical\""}},
    {"precision", {"bf16", "\"bf16\""}},
    {"grad_dtype", {"bf16", "\"bf16\""}},
    {"loss_scale", {"1024", "1024"}},
    {"loss_scale_init", {"256.5", "256.5"}},
    {"loss_scale_window", {"17", "17"}},
    {"loss_scale_hysteresis", {"1", "1"}},
    {"loss_scale_min", {"0.25", "0.25"}},
    {"optimizer", {"lion", "\"lion\""}},
    {"lr", {"1e-4", "0.0001"}},
    {"beta1", {"0.8", "0.8"}},
    {"beta2", {"0.95", "0.95"}},
    {"eps", {"1e-6", "1e-6"}},
    {"weight_decay", {"0.1", "0.1"}},
    {"decay_all", {"", "true"}},
    {"clip_grad_norm", {"1", "1"}},
    {"schedule", {"wsd", "\"wsd\""}},
    {"warmup_steps", {"9", "9"}},
    {"min_lr_ratio", {"0.3", "0.3"}},
    {"recompute", {"selective", "\"selective\""}},
    {"master", {"split", "\"split\""}},
    {"moments", {"int8", "\"int8\""}},
    {"frozen_dtype", {"int8", "\"int8\""}},
    {"offload_optimizer", {"host", "\"host\""}},
    {"offload_master", {"host", "\"host\""}},
    {"offload_moments", {"none", "\"none\""}},
    {"offload_params", {"host", "\"host\""}},
    {"offload_grads", {"host", "\"host\""}},
    {"offload_activations", {"host", "\"host\""}},
    {"offload_fraction", {"0.5", "0.5"}},
    {"offload_tile", {"4096", "4096"}},
    {"update_on", {"host", "\"host\""}},
    {"offload_dir", {"/scratch", "\"/scratch\""}},
    {"offload_dir_any", {"", "true"}},
    {"io_engine", {"threads", "\"threads\""}},
    {"file_limit", {"3GiB", "\"3GiB\""}},
    {"fit", {"", "true"}},
    {"memory_limit", {"2GiB", "\"2GiB\""}},
    {"host_memory_limit", {"9007199254740993", "9007199254740993"}},
    {"save", {"saves", "\"saves\""}},
    {"save_every", {"auto", "\"auto\""}},
    {"keep", {"3", "3"}},
    {"resume", {"saves/step-1", "\"saves/step-1\""}},
    {"save_memory", {"1GiB", "1073741824"}},
    {"failures_per_day", {"2.5", "2.5"}},
    {"log", {"events.jsonl", "\"events.jsonl\""}},
    {"trace", {"steps.json", "\"steps.json\""}},
    {"quiet", {"", "true"}},
    {"dry_run", {"", "true"}},
};

/// What a field needs beside it to be accepted.
RunConfig companions_of(const std::string& key) {
  RunConfig config;
  if (key == "kv_heads" || key == "head_dim") config.model.model = "qwen3-0.6b";
  if (key == "lora_targets" || key == "lora_alpha") config.model.lora_rank = 2;
  if (key.starts_with("loss_scale")) config.precision.precision = optim::Precision::fp16;
  if (key == "master" || key == "offload_master")
    config.precision.precision = optim::Precision::bf16;
  if (key == "offload_fraction" || key == "update_on")
    config.memory.offload_optimizer = plan::Offload::host;
  const bool file = key.starts_with("offload_dir") || key == "io_engine" || key == "file_limit";
  if (file) config.memory.offload_params = plan::Offload::file;
  if (file && key != "offload_dir") config.file_tier.offload_dir = "/disk";
  const bool saves = key.starts_with("save_") || key == "keep" || key == "failures_per_day";
  if (saves) config.checkpoint.save = "saves";
  if (key == "failures_per_day") config.checkpoint.save_every = "auto";
  if (key.starts_with("eval_")) config.data.val_data = {"b.txt"};
  return config;
}

RunConfig by_flag(const std::string& key, const std::string& text) {
  CLI::App app;
  RunConfig config = companions_of(key);
  cli::add_run_options(app, config, {.zoo = true, .purpose = launch::Purpose::plan});
  const std::string flag = launch::flag_of(key);
  const char* argv[] = {"program", flag.c_str(), text.c_str()};
  CHECK(cli::parse(app, text.empty() ? 2 : 3, argv) == cli::Parsed::run);
  return config;
}

}  // namespace

TEST_CASE("each member of the config structs is described exactly once") {
  constexpr std::size_t members =
      member_count<model::ModelConfig>() + member_count<data::DataConfig>() +
      member_count<data::BatchConfig>() + member_count<comm::RanksConfig>() +
      member_count<plan::ShardingConfig>() + member_count<optim::PrecisionConfig>() +
      member_count<optim::OptimizerConfig>() + member_count<plan::MemoryConfig>() +
      member_count<io::FileTierConfig>() + member_count<checkpoint::CheckpointConfig>() +
      member_count<launch::OutputConfig>();
  // Memory is told by two structs.
  static_assert(member_count<RunConfig>() == std::size(launch::concern_names) + 1);
  RunConfig config;
  std::set<std::string_view> keys;
  std::set<const void*> places;
  for (const Field& field : launch::describe(config)) {
    keys.insert(field.key);
    places.insert(std::visit(
        [](const auto& slot) -> const void* {
          if constexpr (requires { slot.index; })
            return slot.index;
          else
            return slot;
        },
        field.slot));
    CHECK_MESSAGE(!field.help.empty(), field.key);
  }
  CHECK(keys.size() == members);
  CHECK(places.size() == members);
}

TEST_CASE("docs/config.md has the line of each field (target config_page rewrites it)") {
  const std::string page = page_of(CONFIG_PAGE);
  RunConfig usual;
  for (const Field& field : launch::describe(usual)) {
    const std::string row = cli::config_row(field) + "\n";
    CHECK_MESSAGE(page.find(row) != std::string::npos, "missing: " << row);
  }
  CHECK(page == cli::config_page());
}

TEST_CASE("help names each field with its default, below the heading of its concern") {
  CLI::App app;
  RunConfig config;
  cli::add_run_options(app, config, {.zoo = true});
  const std::string help = app.help();
  for (const std::string_view concern : launch::concern_names)
    CHECK(help.find("\n" + std::string(concern) + ":\n") != std::string::npos);
  for (const Field& field : launch::describe(config)) {
    const std::size_t at = help.find("  " + launch::flag_of(field.key) + " ");
    CHECK_MESSAGE(at != std::string::npos, field.key);
    const bool shows =
        !std::holds_alternative<bool*>(field.slot) && !launch::text_of(field).empty();
    if (shows)
      CHECK_MESSAGE(help.find("[" + launch::text_of(field) + "]", at) != std::string::npos,
                    field.key);
  }
}

TEST_CASE("each field reads the same from a flag and from JSON, and back from what is printed") {
  RunConfig usual;
  for (const Field& field : launch::describe(usual)) {
    const std::string key(field.key);
    CAPTURE(key);
    REQUIRE(samples.contains(key));
    const auto& [text, literal] = samples.at(key);
    const RunConfig flagged = by_flag(key, text);
    RunConfig keyed = companions_of(key);
    CHECK(cli::read_json("{\"" + key + "\": " + literal + "}", "file", keyed).empty());
    CHECK(cli::to_json(flagged) == cli::to_json(keyed));
    CHECK(cli::to_json(flagged) != cli::to_json(companions_of(key)));
    RunConfig again;
    CHECK(cli::read_json(cli::to_json(flagged), "file", again).empty());
    CHECK(cli::to_json(again) == cli::to_json(flagged));
  }
}
