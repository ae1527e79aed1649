"""Invented people's names: common Peruvian given names and surnames, the frequent ones far more often.

The lists are ordered by how common the names are; the weight of the n-th is 1 / (n + offset), so that namesakes occur
as they do in a real feed.
"""

from bisect import bisect_right
from itertools import accumulate


def _listed(text: str) -> list[str]:
    """Split a list written in lines: by bars where there are any, because some surnames have several words."""
    text = text.strip()
    return text.replace("\n", "|").split("|") if "|" in text else text.split()


MALE = _listed("""
Juan José Luis Carlos Jorge Jesús Miguel Víctor César Pedro Julio Manuel Julián Marco Ángel Walter Raúl Fernando
Christian Edwin Eduardo Ricardo Roberto Alberto Óscar Percy Henry Wilmer Freddy Hugo Javier Daniel David Alex Edgar
Héctor Rolando Rubén Santiago Elmer Francisco Antonio Enrique Alfredo Ronald Richard Wilson Jhon Kevin Anthony Bryan
Franklin Nelson Moisés Abel Joel Isaías Elías Gustavo Renzo Diego Sebastián Piero Gianmarco Rodrigo Álvaro Martín Félix
Teófilo Eusebio Fortunato Hilario Wilfredo Rosendo Smith Jefferson Yerson Josué Samuel Gerardo Ernesto Guillermo Orlando
Iván Néstor Leonel Marcial Saúl Fidel Erick Frank Dante Denis Efraín Gilmer Jaime Leoncio Mario Nilton Omar Pablo Rafael
""")

FEMALE = _listed("""
María Rosa Ana Carmen Luz Julia Juana Flor Elizabeth Milagros Karina Patricia Gladys Norma Nancy Yolanda Silvia Martha
Jessica Maribel Rocío Sonia Lucía Yesenia Katherine Lizbeth Verónica Mónica Teresa Victoria Gloria Susana Vilma Edith
Delia Nélida Margarita Raquel Ruth Olga Roxana Sandra Violeta Yovana Zoila Fiorella Gianella Daniela Andrea Ximena
""")

SURNAMES = _listed("""
Quispe|Mamani|Flores|Rodríguez|García|Sánchez|Rojas|Huamán|Díaz|López|Chávez|Vásquez|Ramos|Gonzales|Torres|Ramírez
Mendoza|Cruz|Castillo|Espinoza|Fernández|Pérez|Gutiérrez|Castro|Condori|Vargas|Morales|Reyes|Salazar|Silva|Ruiz|Medina
Rivera|Paredes|León|Romero|Guevara|Cárdenas|Ortiz|Delgado|Herrera|Cabrera|Aguilar|Palacios|Álvarez|Martínez|Córdova
Campos|Choque|Carrasco|Apaza|Vega|Guerrero|Tello|Vilca|Ccori|Huanca|Núñez|Zapata|Navarro|Arias|Acosta|Peña|Alarcón
Ñahui|Poma|Valencia|Bravo|Villanueva|Miranda|Cáceres|Chura|Ayala|Aguirre|Soto|Villegas|Farfán|Calderón|Benites|Ponce
de la Cruz|Inga|Huaranca|Taipe|Ticona|Ccopa|Quiroz|Bustamante|Ríos|Lozano|Barrientos|Suárez|Montes|Orellana|Zevallos
Chambi|Yupanqui|Cusi|Hancco|Pari|Layme|Sulca|Palomino|Tapia|Solís|Rosales|Maldonado|Bautista|Alva|Mejía|Cornejo|Luna
Peralta|Valverde|Trujillo|Arroyo|Gamarra|Escobar|Figueroa|Galindo|Hurtado|Ibáñez|Jara|Kcomt|Lazo|Manrique|Neyra|Ochoa
Pacheco|Quintana|Robles|Saldaña|Tito|Ugarte|Valdivia|Yauri|Zúñiga|Atencio|Belito|Cahuana|Dueñas|Enríquez|Fuentes
Gálvez|Huarcaya|Isidro|Juárez|Landa|Machaca|Noriega|Oré|Pizarro|Quillama|Retamozo|Sarmiento|Toledo|Urbano|Vivanco
del Castillo|de los Ríos|Anco|Boza|Camacho|Dávila|Egoávil|Falcón|Goicochea|Hinostroza|Izaguirre|Jaimes|Leyva|Meza
Obregón|Pinedo|Quevedo|Rengifo|Shupingahua|Tananta|Upiachihua|Vela|Yalta|Zegarra|Asto|Buleje|Ccahuana|Durand|Esquivel
Felices|Granados|Huillca|Infante|Limachi|Mayta|Nina|Olivera|Paico|Quea|Rupay|Sucasaire|Tuesta|Uscamayta|Velarde|Yucra
Aliaga|Baca|Corrales|Chipana|Echevarría|Fajardo|Gallegos|Huayta|Llanos|Mego|Oblitas|Portocarrero|Rimachi|Samamé|Terrones
""")

CAR_MODELS = [
    ("Toyota", "Yaris"), ("Kia", "Rio"), ("Hyundai", "Accent"), ("Kia", "Soluto"), ("Toyota", "Corolla"),
    ("Nissan", "Versa"), ("Chevrolet", "Sail"), ("Hyundai", "Grand i10"), ("Suzuki", "Dzire"), ("Kia", "Picanto"),
    ("Toyota", "Avanza"), ("Renault", "Logan"), ("Chevrolet", "Onix"), ("Mazda", "2"), ("DFSK", "Glory 330"),
    ("JAC", "S2"), ("Changan", "Alsvin"), ("Geely", "Emgrand"), ("Volkswagen", "Gol"), ("Honda", "City"),
    ("Mitsubishi", "Attrage"), ("Peugeot", "301"), ("Fiat", "Cronos"), ("BYD", "F0"), ("Great Wall", "Voleex C30"),
]  # fmt: skip
COLORS = ["Plata", "Blanco", "Negro", "Gris", "Rojo", "Azul", "Beige", "Verde", "Guinda"]
CITIES = ["Lima", "Lima", "Lima", "Lima", "Arequipa", "Trujillo", "Chiclayo", "Piura", "Cusco", "Huancayo"]

_UNACCENT = str.maketrans("áéíóúüñÁÉÍÓÚÜÑ", "aeiouunAEIOUUN")


def without_accents(text: str) -> str:
    """Return `text` as somebody types it who has no accents on the keyboard."""
    return text.translate(_UNACCENT)


def names_are_alike(one: list[str], other: list[str]) -> bool:
    """Say whether two names share a word, or two words of five letters and more that differ by one letter (Q76)."""
    ours = {word for part in one for word in without_accents(part).lower().split()}
    theirs = {word for part in other for word in without_accents(part).lower().split()}
    if ours & theirs:
        return True
    return any(min(len(word), len(known)) >= 5 and _one_letter_apart(word, known) for word in ours for known in theirs)


def _one_letter_apart(word: str, other: str) -> bool:
    if abs(len(word) - len(other)) > 1:
        return False
    kept = 0
    while kept < min(len(word), len(other)) and word[kept] == other[kept]:
        kept += 1
    return word[kept + (len(word) >= len(other)) :] == other[kept + (len(other) >= len(word)) :]


def zipf_weights(count: int, offset: float) -> list[float]:
    """Return the running sums of 1 / (n + offset), for `position`."""
    return list(accumulate(1.0 / (rank + offset) for rank in range(1, count + 1)))


def position(weights: list[float], fraction: float) -> int:
    """Return where `fraction` (0 <= fraction < 1) of the total weight falls."""
    return min(bisect_right(weights, fraction * weights[-1]), len(weights) - 1)


MALE_WEIGHTS = zipf_weights(len(MALE), 3)
FEMALE_WEIGHTS = zipf_weights(len(FEMALE), 3)
SURNAME_WEIGHTS = zipf_weights(len(SURNAMES), 5)
CAR_WEIGHTS = zipf_weights(len(CAR_MODELS), 2)
