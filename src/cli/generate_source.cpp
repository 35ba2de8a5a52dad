#include "cli/generate_source.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/checkpoint/latest.hpp"
#include "sherd/io/json.hpp"
#include "sherd/model/description.hpp"
#include "sherd/model/hugging_face.hpp"

namespace sherd::cli {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::unique_ptr<checkpoint::Checkpoint> newest(const std::string& folder) {
  std::string found = folder;
  if (!is_there(fs::path(folder) / checkpoint::manifest_name)) {
    const std::vector<checkpoint::Found> all = checkpoint::list(io::storage(), folder);
    if (all.empty()) throw DataError(folder + ": holds no checkpoint");
    found = all.front().folder;
  }
  return std::make_unique<checkpoint::Checkpoint>(io::storage(), found);
}

// `eos_token_id` is a number, or some, or absent.
std::vector<std::int32_t> ends_of(const fs::path& folder, std::int64_t vocab_size) {
  for (const char* name : {"generation_config.json", "config.json"}) {
    const std::string path = (folder / name).string();
    if (!is_there(path)) continue;
    const nlohmann::json all = io::read_json(io::File(path));
    if (!all.is_object() || !all.contains("eos_token_id") || all["eos_token_id"].is_null())
      continue;
    nlohmann::json given = all["eos_token_id"];
    if (!given.is_array()) given = nlohmann::json::array({given});
    std::vector<std::int32_t> ends;
    for (const nlohmann::json& one : given) {
      if (!one.is_number_integer() || one < 0 || one >= vocab_size)
        throw DataError(path + ": eos_token_id: got " + io::printable(one.dump()) +
                        ", need a token below " + std::to_string(vocab_size));
      ends.push_back(one.get<std::int32_t>());
    }
    return ends;
  }
  return {};
}

// The tokenizer's own end counts too: a base model's folder may name another one, or none.
void add_own_end(GenerateSource& source) {
  if (!source.codec.tokenizer()) return;
  const auto end = source.codec.tokenizer()->end_of_document();
  if (!end || std::ranges::find(source.ends, static_cast<std::int32_t>(*end)) != source.ends.end())
    return;
  source.ends.push_back(static_cast<std::int32_t>(*end));
}

// Of the text that a checkpoint's run was given.
std::string trained_with(const SourceOptions& options, const GenerateSource& source) {
  if (!source.checkpoint) return "bytes";
  const auto& settings = source.checkpoint->manifest().settings;
  const auto said = settings.find("tokenizer");
  if (said == settings.end() || said->second == "bytes") return "bytes";
  if (is_there(said->second)) return said->second;
  if (!options.reads_text) {
    log::warn("--tokenizer: " + said->second +
              " is not here: text is shown as if tokens were bytes");
    return "bytes";
  }
  throw DataError(source.checkpoint->folder() + ": was trained with --tokenizer " + said->second +
                  ", which is not here; say where it is now, or --tokenizer bytes");
}

void open_codec(const SourceOptions& options, GenerateSource& source) {
  std::string path = options.tokenizer;
  if (path == "auto") {
    const std::string& folder = source.checkpoint ? options.checkpoint : options.model;
    path = is_there(fs::path(folder) / "tokenizer.json") ? folder : trained_with(options, source);
  }
  if (path == "bytes") return;
  data::Tokenizer tokenizer(path);
  if (tokenizer.vocab_size() > source.network.vocab_size)
    throw DataError(fmt::format("--tokenizer: {} has {} tokens, need at most the network's {}",
                                tokenizer.name(), tokenizer.vocab_size(),
                                source.network.vocab_size));
  source.codec = data::TextCodec(std::move(tokenizer));
}

}  // namespace

GenerateSource open_source(const SourceOptions& options) {
  GenerateSource source;
  if (!options.checkpoint.empty()) {
    source.checkpoint = newest(options.checkpoint);
    const checkpoint::Checkpoint& from = *source.checkpoint;
    source.network = model::build(model::parse_description(from.folder(), from.manifest().model));
    source.weights = [&from](const model::ModelSpec& spec) {
      return checkpoint::weights_of(from, spec);
    };
  } else {
    model::ModelConfig config;
    config.model = options.model;
    config.random_init = options.random_init;
    config.seed = options.seed;
    source.network = model::build(config);
    if (!model::names_folder(config) && !options.random_init)
      throw ConfigError({"--model: " + options.model +
                         " is a preset, which has no weights; give a folder, --checkpoint, or "
                         "--random-init"});
    if (model::names_folder(config))
      source.ends = ends_of(options.model, source.network.vocab_size);
    source.weights = [config](const model::ModelSpec& spec) {
      return model::open_weights(config, spec);
    };
  }
  open_codec(options, source);
  add_own_end(source);
  return source;
}

}  // namespace sherd::cli
