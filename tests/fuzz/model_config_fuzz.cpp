// config.json of a folder with a network.
#include <array>
#include <filesystem>
#include <optional>

#include "fuzz/json_change.hpp"
#include "fuzz/memory_file.hpp"
#include "io/temp_folder.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/model/hugging_face.hpp"

namespace sherd::fuzz {
namespace {

/// A folder whose config.json is in memory.
class Folder {
 public:
  Folder() { std::filesystem::create_symlink(memory_.path(), folder_.path() + "/config.json"); }
  /// What it is read as; nothing if it is refused.
  std::optional<model::Architecture> read(const std::string& content) const {
    memory_.fill(content);
    try {
      return model::read_config(folder_.path());
    } catch (const DataError&) {
      return {};
    }
  }

 private:
  MemoryFile memory_;
  test::TempFolder folder_;
};

}  // namespace

bool accepts(const std::string& input) {
  static const Folder folder;
  const std::optional<model::Architecture> read = folder.read(input);
  if (!read) return false;
  promised(problems_of(*read).empty(), "what is accepted can be trained");
  const std::string text = model::write_config(*read, DType::f32);
  const std::optional<model::Architecture> again = folder.read(text);
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
