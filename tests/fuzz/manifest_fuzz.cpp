// The manifest of a checkpoint.
#include "fuzz/checkpoint_text.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::fuzz {

bool accepts(const std::string& input) {
  checkpoint::Manifest manifest;
  try {
    manifest = checkpoint::parse_manifest("manifest.json", input);
  } catch (const DataError&) {
    return false;
  }
  checkpoint::check("manifest.json", manifest.contents, true);
  check_contents(manifest.contents, true);
  const std::string again = to_text(manifest);
  check_same(input, again, to_text(checkpoint::parse_manifest("manifest.json", again)));
  return true;
}

std::string seed(Random& random) {
  checkpoint::Manifest manifest;
  manifest.run = std::string(32, static_cast<char>('0' + random.below(10)));
  manifest.library = "0.1.0";
  manifest.world = 1 + static_cast<int>(random.below(5));
  manifest.progress = {65536, 3, 1, 0, 40, 39};
  manifest.model = R"({"architecture":"gpt2"})";
  manifest.data = manifest.numerics_key = "0123456789abcdef";
  manifest.start_weights = random.draw();
  manifest.settings = {{"lr", "0.001"}, {"seed", "1"}};
  manifest.contents = random_contents(0, 1, random);
  return to_text(manifest);
}

std::string changed(const std::string& input, Random& random, const ChangeBytes& change) {
  return changed_sealed(input, random, change);
}

}  // namespace sherd::fuzz
