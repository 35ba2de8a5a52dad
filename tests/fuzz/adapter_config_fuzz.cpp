// adapter_config.json of a folder with adapters.
#include <optional>

#include "fuzz/config_folder.hpp"
#include "fuzz/json_change.hpp"
#include "sherd/model/hugging_face.hpp"

namespace sherd::fuzz {
namespace {

std::string written(const model::LoraConfig& lora) {
  model::LlamaConfig network;
  network.lora = lora;
  return model::write_adapter_config(network);
}

}  // namespace

bool accepts(const std::string& input) {
  static const ConfigFolder folder("adapter_config.json");
  const auto read = [](const std::string& text) {
    return folder.read(text,
                       [](const std::string& path) { return model::read_adapter_config(path); });
  };
  const std::optional<model::LoraConfig> lora = read(input);
  if (!lora) return false;
  promised(lora->on() && lora->alpha >= 0 && !names_of(*lora).empty(), "what is accepted adapts");
  promised(read(written(*lora)) == lora, "what is accepted is the same when written again");
  return true;
}

std::string seed(Random& random) {
  model::LoraConfig lora{1 + static_cast<std::int64_t>(random.below(64)), 16, 0};
  lora.sites = 1U + static_cast<std::uint32_t>(random.below((1U << model::lora_sites.size()) - 1));
  lora.alpha = static_cast<float>(1 + random.below(64)) / 2;
  return written(lora);
}

std::string changed(const std::string& input, Random& random, const ChangeBytes& change) {
  return changed_json(input, random, change);
}

}  // namespace sherd::fuzz
