// What one rank says of its file of a checkpoint, and parts that come together.
#include "fuzz/checkpoint_text.hpp"
#include "sherd/base/errors.hpp"

namespace sherd::fuzz {

bool accepts(const std::string& input) {
  checkpoint::Contents part;
  try {
    part = checkpoint::parse_part("part.json", input);
  } catch (const DataError&) {
    return false;
  }
  checkpoint::check("part.json", part, false);
  check_contents(part, false);
  const std::string again = to_text(part);
  check_same(input, again, to_text(checkpoint::parse_part("part.json", again)));
  try {
    check_contents(checkpoint::merged({part}), true);
  } catch (const DataError&) {  // parts may have gaps, checkpoints may not
  }
  return true;
}

std::string seed(Random& random) {
  const std::uint64_t ranks = 1 + random.below(3);
  return to_text(random_contents(random.below(ranks), ranks, random));
}

std::string changed(const std::string& input, Random& random, const ChangeBytes& change) {
  return changed_sealed(input, random, change);
}

}  // namespace sherd::fuzz
