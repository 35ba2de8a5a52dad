// config.json of a folder with a network.
#include <array>
#include <optional>

#include "fuzz/config_folder.hpp"
#include "fuzz/json_change.hpp"
#include "sherd/model/hugging_face.hpp"

namespace sherd::fuzz {

bool accepts(const std::string& input) {
  static const ConfigFolder folder("config.json");
  const auto reader = [](const std::string& path) { return model::read_config(path); };
  const std::optional<model::Architecture> read = folder.read(input, reader);
  if (!read) return false;
  promised(problems_of(*read).empty(), "what is accepted can be trained");
  const std::string text = model::write_config(*read, DType::f32);
  const std::optional<model::Architecture> again = folder.read(text, reader);
  promised(again.has_value(), "what is accepted is accepted when written again");
  promised(model::write_config(*again, DType::f32) == text, "and is the same network");
  return true;
}

std::string seed(Random& random) {
  const std::span<const model::Preset> all = model::presets();
  const model::Preset& one = all[random.below(all.size())];
  return model::write_config(one.architecture, random.one_in(2) ? DType::f32 : DType::bf16);
}

std::string changed(const std::string& input, Random& random, const ChangeBytes& change) {
  return changed_json(input, random, change);
}

}  // namespace sherd::fuzz
